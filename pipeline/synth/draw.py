"""Draws a script: the cast, its timelines, the place and the light."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats, Rgb
from pipeline.synth.camera import Camera
from pipeline.synth.cast import HAIR, KINDS, SKIN, TROUSERS, shade
from pipeline.synth.motion import places
from pipeline.synth.script import PEOPLE, Actor, Category, Place, Prop, Script, Stage
from pipeline.synth.timeline import draw_actions

RATE = Fraction(15)
FRAMES = (96, 160)
"""Shortest and longest video."""
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


def draw_script(rng: np.random.Generator) -> Script:
    """Draw a scene in which nobody walks through another and everybody stays in the picture."""
    while True:
        length = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
        camera = Camera(
            height_m=float(rng.uniform(1.5, 2.3)),
            pitch_deg=float(rng.uniform(7, 12)),
            fov_deg=float(rng.uniform(40, 48)),
        )
        actors = _draw_actors(rng, length, camera)
        if actors is not None:
            stage = _draw_stage(rng)
            return Script(frames=length, rate=RATE, camera=camera, stage=stage, actors=actors)


def _draw_actors(rng: np.random.Generator, frames: int, camera: Camera) -> tuple[Actor, ...] | None:
    people: list[Category] = ["man", "woman", "child"]
    cast = [people[int(rng.integers(3))] for _ in range(int(rng.integers(2, 4)))]
    cast += ["dog"] if rng.random() < 0.45 else []
    cast += ["ball"] if rng.random() < 0.5 else []
    actors: list[Actor] = []
    paths: list[Floats] = []
    for category in cast:
        for _ in range(60):
            actor = _draw_actor(rng, category, frames, taken=[other.colour for other in actors])
            if actor is None:
                continue
            path = places(actor.actions)
            # A raised arm or a jump reaches higher than the head.
            reach_m = actor.height_m * (1.25 if category in PEOPLE else 1.0)
            if camera.sees(path, height_m=reach_m, radius_m=actor.radius_m) and _is_clear(path, actor, paths, actors):
                actors.append(actor)
                paths.append(path)
                break
        else:
            return None
    return tuple(actors)


def _draw_actor(rng: np.random.Generator, category: Category, frames: int, *, taken: Sequence[str]) -> Actor | None:
    kind = KINDS[category]
    actions = draw_actions(rng, kind, frames=frames, rate=RATE)
    if actions is None:
        return None
    free = [name for name in kind.colours if name not in taken]
    colour = free[int(rng.integers(len(free)))]
    trousers = list(TROUSERS)[int(rng.integers(len(TROUSERS)))]
    height_m = float(rng.uniform(*kind.height_m))
    return Actor(
        category=category,
        height_m=height_m,
        radius_m=height_m * kind.radius_per_height,
        colour=colour,
        colour_rgb=shade(rng, kind.colours[colour]),
        trousers=trousers if category in PEOPLE else None,
        trousers_rgb=shade(rng, TROUSERS[trousers], spread=0.02),
        hair_rgb=shade(rng, HAIR[int(rng.integers(len(HAIR)))], spread=0.02),
        skin_rgb=shade(rng, SKIN[int(rng.integers(len(SKIN)))]),
        actions=actions,
    )


def _is_clear(path: Floats, actor: Actor, paths: Sequence[Floats], actors: Sequence[Actor]) -> bool:
    return all(
        np.hypot(*(path - other_path).T).min() > actor.radius_m + other.radius_m
        for other_path, other in zip(paths, actors, strict=True)
    )


def _draw_stage(rng: np.random.Generator) -> Stage:
    choices: list[Place] = ["park", "yard", "hall"]
    place = choices[int(rng.integers(3))]
    wall_distance_m = float(rng.uniform(10.5, 13.0))
    grounds, walls = GROUNDS[place], WALLS[place]
    return Stage(
        place=place,
        ground_rgb=shade(rng, grounds[int(rng.integers(len(grounds)))]),
        wall_rgb=shade(rng, walls[int(rng.integers(len(walls)))]),
        wall_distance_m=wall_distance_m,
        # From in front of the actors, so that their faces are lit and their shadows fall behind them.
        sun_deg=(float(rng.uniform(205, 335)), float(rng.uniform(38, 62))),
        props=_draw_props(rng, place, wall_distance_m),
        texture_seed=int(rng.integers(2**31)),
    )


def _draw_props(rng: np.random.Generator, place: Place, wall_distance_m: float) -> tuple[Prop, ...]:
    """Things behind the actors' field, apart from each other."""
    count = int(rng.integers(5, 9)) if place == "park" else int(rng.integers(1, 4))
    far_m = 20.0 if place == "park" else wall_distance_m - 0.6
    props: list[Prop] = []
    for _ in range(count):
        y = float(rng.uniform(9.6, far_m))
        x = float(rng.uniform(-0.55, 0.55)) * y
        if any(abs(x - prop.at_m[0]) < 1.3 for prop in props):
            continue
        if place == "park":
            is_tree = rng.random() < 0.7
            height_m = float(rng.uniform(3.0, 5.5) if is_tree else rng.uniform(0.7, 1.3))
            props.append(
                Prop(
                    kind="tree" if is_tree else "bush",
                    at_m=(x, y),
                    height_m=height_m,
                    rgb=shade(rng, LEAVES, spread=0.06),
                )
            )
        else:
            height_m = float(rng.uniform(0.5, 1.0))
            props.append(Prop(kind="crate", at_m=(x, y), height_m=height_m, rgb=shade(rng, WOOD, spread=0.08)))
    return tuple(props)
