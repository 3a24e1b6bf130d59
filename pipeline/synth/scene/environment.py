"""Sample the environment of a scene: place, props and light."""

from __future__ import annotations

import numpy as np

from pipeline.synth.arrays import Rgb
from pipeline.synth.scene.catalogue import shade
from pipeline.synth.scene.script import Place, Prop, Stage

GROUNDS: dict[Place, tuple[Rgb, ...]] = {
    "park": ((0.30, 0.42, 0.17), (0.38, 0.46, 0.20), (0.62, 0.54, 0.38)),
    "yard": ((0.52, 0.51, 0.50), (0.60, 0.56, 0.50)),
    "hall": ((0.55, 0.38, 0.22), (0.45, 0.33, 0.24), (0.48, 0.52, 0.55)),
}
WALLS: dict[Place, tuple[Rgb, ...]] = {
    "park": ((0.5, 0.5, 0.5),),
    "yard": ((0.52, 0.27, 0.20), (0.58, 0.50, 0.42)),
    "hall": ((0.80, 0.76, 0.68), (0.62, 0.70, 0.74), (0.74, 0.66, 0.56)),
}
LEAVES: Rgb = (0.16, 0.34, 0.12)
WOOD: Rgb = (0.55, 0.40, 0.24)
PROPS_FROM_M = 11.6
"""Minimum distance of props from the camera, behind the actors."""


def draw_stage(rng: np.random.Generator) -> Stage:
    choices: list[Place] = ["park", "yard", "hall"]
    place = choices[int(rng.integers(3))]
    wall_distance_m = float(rng.uniform(12.8, 14.5))
    grounds, walls = GROUNDS[place], WALLS[place]
    return Stage(
        place=place,
        ground_rgb=shade(rng, grounds[int(rng.integers(len(grounds)))]),
        wall_rgb=shade(rng, walls[int(rng.integers(len(walls)))]),
        wall_distance_m=wall_distance_m,
        # The light comes from the camera's side, so that faces are lit and shadows fall behind the actors.
        sun_deg=(float(rng.uniform(205, 335)), float(rng.uniform(38, 62))),
        props=_draw_props(rng, place, wall_distance_m),
        texture_seed=int(rng.integers(2**31)),
    )


def _draw_props(rng: np.random.Generator, place: Place, wall_distance_m: float) -> tuple[Prop, ...]:
    """Sample props behind the actors, at a distance from each other."""
    count = int(rng.integers(4, 7)) if place == "park" else int(rng.integers(1, 4))
    far_m = 21.0 if place == "park" else wall_distance_m - 0.6
    props: list[Prop] = []
    for _ in range(count):
        y = float(rng.uniform(PROPS_FROM_M, far_m))
        x = float(rng.uniform(-0.6, 0.6)) * y
        if all(abs(x - prop.at_m[0]) >= 1.3 for prop in props):
            props.append(_draw_prop(rng, place, (x, y)))
    return tuple(props)


def _draw_prop(rng: np.random.Generator, place: Place, at_m: tuple[float, float]) -> Prop:
    is_first = rng.random() < 0.65
    if place == "park":
        height_m = float(rng.uniform(3.2, 5.5) if is_first else rng.uniform(0.7, 1.3))
        return Prop(
            kind="tree" if is_first else "bush", at_m=at_m, height_m=height_m, rgb=shade(rng, LEAVES, spread=0.06)
        )
    height_m = float(rng.uniform(0.5, 1.0) if is_first else rng.uniform(0.85, 1.0))
    return Prop(kind="crate" if is_first else "chair", at_m=at_m, height_m=height_m, rgb=shade(rng, WOOD, spread=0.08))
