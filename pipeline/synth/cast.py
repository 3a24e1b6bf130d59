"""Who may appear: sizes, speeds, colours and what each category can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.synth.arrays import Rgb
from pipeline.synth.script import Category, Verb

# A shirt's colour is never a trousers' colour, so "in red" can mean nothing but the shirt.
SHIRTS: dict[str, Rgb] = {
    "red": (0.74, 0.07, 0.07),
    "orange": (0.92, 0.42, 0.05),
    "yellow": (0.90, 0.78, 0.10),
    "green": (0.06, 0.48, 0.16),
    "blue": (0.10, 0.22, 0.74),
    "purple": (0.42, 0.12, 0.58),
    "pink": (0.93, 0.48, 0.64),
    "white": (0.88, 0.88, 0.86),
}
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
HAIR: tuple[Rgb, ...] = ((0.05, 0.04, 0.04), (0.24, 0.13, 0.06), (0.72, 0.55, 0.24), (0.55, 0.54, 0.53))
SKIN: tuple[Rgb, ...] = ((0.93, 0.72, 0.60), (0.80, 0.58, 0.44), (0.55, 0.36, 0.25), (0.36, 0.23, 0.16))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What members of a category have in common. Ranges are (low, high)."""

    height_m: tuple[float, float]
    radius_per_height: float
    colours: dict[str, Rgb]
    verbs: dict[Verb, float]
    """Weight of each verb that is more than rest."""
    speed_m_s: dict[Verb, tuple[float, float]]


KINDS: dict[Category, Kind] = {
    "man": Kind(
        height_m=(1.70, 1.88),
        radius_per_height=0.19,
        colours=SHIRTS,
        verbs={"walk": 8, "run": 6, "wave": 1, "jump": 1},
        speed_m_s={"walk": (0.9, 1.4), "run": (2.2, 3.0)},
    ),
    "woman": Kind(
        height_m=(1.58, 1.72),
        radius_per_height=0.19,
        colours=SHIRTS,
        verbs={"walk": 8, "run": 6, "wave": 1, "jump": 1},
        speed_m_s={"walk": (0.9, 1.4), "run": (2.1, 2.8)},
    ),
    "child": Kind(
        height_m=(1.02, 1.28),
        radius_per_height=0.21,
        colours=SHIRTS,
        verbs={"walk": 8, "run": 6, "wave": 1, "jump": 1.5},
        speed_m_s={"walk": (0.7, 1.0), "run": (1.8, 2.4)},
    ),
    "dog": Kind(
        height_m=(0.62, 0.80),
        radius_per_height=0.75,
        colours=COATS,
        verbs={"walk": 1, "run": 1},
        speed_m_s={"walk": (0.7, 1.0), "run": (2.0, 2.8)},
    ),
    "ball": Kind(
        height_m=(0.46, 0.62),
        radius_per_height=0.5,
        colours=SHIRTS,
        verbs={"roll": 1},
        speed_m_s={"roll": (0.8, 1.8)},
    ),
}


def shade(rng: np.random.Generator, rgb: Rgb, *, spread: float = 0.03) -> Rgb:
    """A colour near `rgb`, so that no two reds are the same."""
    red, green, blue = np.clip(np.array(rgb) + rng.uniform(-spread, spread, 3), 0.02, 0.97)
    return float(red), float(green), float(blue)
