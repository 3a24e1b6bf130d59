"""Catalog of the categories: sizes, speeds, colors and possible actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.synth.arrays import Rgb
from pipeline.synth.scene.script import Category, Dye, Verb

PAINTS: dict[str, Rgb] = {
    "red": (0.74, 0.07, 0.07),
    "orange": (0.92, 0.42, 0.05),
    "yellow": (0.90, 0.78, 0.10),
    "green": (0.06, 0.48, 0.16),
    "blue": (0.10, 0.22, 0.74),
    "purple": (0.42, 0.12, 0.58),
    "pink": (0.93, 0.48, 0.64),
    "white": (0.88, 0.88, 0.86),
}
"""Colors of shirts, hats, bags, balls and vehicles. They are disjoint from the colors of trousers."""
TROUSERS: dict[str, Rgb] = {
    "black": (0.05, 0.05, 0.06),
    "grey": (0.42, 0.43, 0.45),
    "brown": (0.36, 0.20, 0.10),
}
COATS: dict[str, Rgb] = {
    "brown": (0.42, 0.24, 0.12),
    "black": (0.07, 0.06, 0.06),
    "white": (0.86, 0.84, 0.80),
    "grey": (0.48, 0.48, 0.47),
}
HAIR: dict[str, Rgb] = {
    "black": (0.05, 0.04, 0.04),
    "brown": (0.24, 0.13, 0.06),
    "blond": (0.78, 0.62, 0.28),
    "grey": (0.55, 0.54, 0.53),
}
SKIN: tuple[Rgb, ...] = ((0.93, 0.72, 0.60), (0.80, 0.58, 0.44), (0.55, 0.36, 0.25), (0.36, 0.23, 0.16))

LANES_M = (4.8, 8.4)
"""Distances from the camera at which people, animals and balls act."""
ROAD_M = (9.3, 10.2)
"""Distances from the camera at which cars drive."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Properties of a category. Ranges are (low, high)."""

    height_m: tuple[float, float]
    footprint: tuple[float, float]
    """Half the lengths along x and y, as fractions of the height."""
    colours: dict[str, Rgb]
    verbs: dict[Verb, float]
    """Sampling weight of each verb except rest."""
    speed_m_s: dict[Verb, tuple[float, float]]
    weight: float
    """Sampling weight of the category."""
    lanes_m: tuple[float, float] = LANES_M
    """Distances from the camera at which members act."""
    rest: float = 0.35
    """Probability that an action is a rest."""


_PERSON_VERBS: dict[Verb, float] = {"walk": 8, "run": 5, "wave": 1.2, "jump": 1.2, "crouch": 1.2, "sit": 1.2}

KINDS: dict[Category, Kind] = {
    "man": Kind(
        height_m=(1.70, 1.88),
        footprint=(0.19, 0.19),
        colours=PAINTS,
        verbs=_PERSON_VERBS,
        speed_m_s={"walk": (0.8, 1.4), "run": (2.0, 3.0)},
        weight=5,
    ),
    "woman": Kind(
        height_m=(1.58, 1.72),
        footprint=(0.19, 0.19),
        colours=PAINTS,
        verbs=_PERSON_VERBS,
        speed_m_s={"walk": (0.8, 1.4), "run": (2.0, 2.8)},
        weight=5,
    ),
    "child": Kind(
        height_m=(1.02, 1.28),
        footprint=(0.21, 0.21),
        colours=PAINTS,
        verbs=_PERSON_VERBS,
        speed_m_s={"walk": (0.6, 1.0), "run": (1.7, 2.4)},
        weight=4,
    ),
    "dog": Kind(
        height_m=(0.62, 0.80),
        footprint=(0.75, 0.75),
        colours=COATS,
        verbs={"walk": 1, "run": 1},
        speed_m_s={"walk": (0.6, 1.0), "run": (1.8, 2.8)},
        weight=2.2,
    ),
    "cat": Kind(
        height_m=(0.42, 0.52),
        footprint=(0.8, 0.8),
        colours=COATS,
        verbs={"walk": 1.2, "run": 1},
        speed_m_s={"walk": (0.5, 0.8), "run": (1.5, 2.2)},
        weight=1.6,
        lanes_m=(4.8, 6.8),
    ),
    "horse": Kind(
        height_m=(1.70, 1.95),
        footprint=(0.62, 0.62),
        colours=COATS,
        verbs={"walk": 1.3, "run": 1},
        speed_m_s={"walk": (1.0, 1.5), "run": (2.6, 3.6)},
        weight=1.3,
        lanes_m=(6.8, 9.0),
    ),
    "car": Kind(
        height_m=(1.35, 1.55),
        footprint=(1.32, 0.60),
        colours=PAINTS,
        verbs={"drive": 1},
        speed_m_s={"drive": (1.5, 4.0)},
        weight=2.2,
        lanes_m=ROAD_M,
    ),
    "bicycle": Kind(
        height_m=(1.0, 1.1),
        footprint=(0.86, 0.28),
        colours=PAINTS,
        verbs={"roll": 1},
        speed_m_s={"roll": (1.0, 2.6)},
        weight=2.0,
    ),
    "ball": Kind(
        height_m=(0.44, 0.60),
        footprint=(0.5, 0.5),
        colours=PAINTS,
        verbs={"roll": 1},
        speed_m_s={"roll": (0.6, 1.8)},
        weight=1.4,
    ),
}


def shade(rng: np.random.Generator, rgb: Rgb, *, spread: float = 0.03) -> Rgb:
    """Sample a color near `rgb`, so that objects of the same color differ slightly."""
    red, green, blue = np.clip(np.array(rgb) + rng.uniform(-spread, spread, 3), 0.02, 0.97)
    return float(red), float(green), float(blue)


def draw_dye(rng: np.random.Generator, colours: dict[str, Rgb], names: list[str], *, spread: float = 0.03) -> Dye:
    """Sample one of the colors `names` and a shade of it."""
    name = names[int(rng.integers(len(names)))]
    return Dye(name=name, rgb=shade(rng, colours[name], spread=spread))
