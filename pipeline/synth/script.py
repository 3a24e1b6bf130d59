"""A scene as a script: who stands where, wears what, does what and when. Pure data, no drawing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pipeline.synth.arrays import Rgb
from pipeline.synth.camera import Camera

Category = Literal["man", "woman", "child", "dog", "ball"]
Verb = Literal["rest", "walk", "run", "roll", "jump", "wave"]
Heading = Literal["left", "right", "towards", "away"]
Place = Literal["park", "yard", "hall"]

PEOPLE: frozenset[Category] = frozenset({"man", "woman", "child"})
MOVING: frozenset[Verb] = frozenset({"walk", "run", "roll"})
FACING_DEG: dict[Heading, float] = {"right": 0.0, "away": 90.0, "left": 180.0, "towards": 270.0}
"""Yaw of whoever goes that way, counter-clockwise from the picture's right as seen from above."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that one actor does from `start_frame` up to, not including, `end_frame`."""

    verb: Verb
    heading: Heading | None
    """Set for moving verbs only."""
    start_frame: int
    end_frame: int
    start_m: tuple[float, float]
    """Ground point (x, y) at `start_frame`."""
    end_m: tuple[float, float]
    """Ground point at `end_frame`; equals `start_m` unless the verb moves."""
    facing_deg: float

    @property
    def length_frames(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person, a dog or a ball, with what it does in every frame of the video."""

    category: Category
    height_m: float
    radius_m: float
    """Of the upright cylinder that holds the figure, swinging arms aside."""
    colour: str
    """Name of the colour of the shirt, the coat or the ball."""
    colour_rgb: Rgb
    trousers: str | None
    """Name of the trousers' colour; None for who wears none."""
    trousers_rgb: Rgb
    hair_rgb: Rgb
    skin_rgb: Rgb
    actions: tuple[Action, ...]
    """In order, without gaps: the first starts at frame 0, the last ends with the video."""


@dataclass(frozen=True, kw_only=True)
class Prop:
    """A thing that stays where it is."""

    kind: Literal["tree", "bush", "crate"]
    at_m: tuple[float, float]
    height_m: float
    rgb: Rgb


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a scene plays, and its light."""

    place: Place
    ground_rgb: Rgb
    wall_rgb: Rgb
    wall_distance_m: float
    """Of the wall behind the actors; a park has none."""
    sun_deg: tuple[float, float]
    """Azimuth (0 is the picture's right, 270 behind the camera) and elevation of the light."""
    props: tuple[Prop, ...]
    texture_seed: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """All that a video shows."""

    frames: int
    rate: Fraction
    """Frames a second."""
    camera: Camera
    stage: Stage
    actors: tuple[Actor, ...]
