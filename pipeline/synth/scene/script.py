"""A scene as a script: who stands where, wears what, does what and when. Pure data, no drawing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pipeline.synth.arrays import Rgb
from pipeline.synth.scene.camera import Camera

Category = Literal["man", "woman", "child", "dog", "cat", "horse", "car", "bicycle", "ball"]
Verb = Literal[
    "rest", "walk", "run", "roll", "drive", "jump", "wave", "crouch", "sit", "kick", "hold", "held", "kicked"
]
"""`held` and `kicked` are what a ball sees of `hold` and `kick`."""
Heading = Literal["left", "right", "towards", "away"]
Place = Literal["park", "yard", "hall"]
Split = Literal["train", "val", "test", "test-unseen-words", "test-unseen-combinations"]

PEOPLE: frozenset[Category] = frozenset({"man", "woman", "child"})
ANIMALS: frozenset[Category] = frozenset({"dog", "cat", "horse"})
VEHICLES: frozenset[Category] = frozenset({"car", "bicycle"})
MOVING: frozenset[Verb] = frozenset({"walk", "run", "roll", "drive"})
FACING_DEG: dict[Heading, float] = {"right": 0.0, "away": 90.0, "left": 180.0, "towards": 270.0}
"""Yaw of whoever goes that way, counter-clockwise from the world's right as seen from above."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that one actor does from `start_frame` up to, not including, `end_frame`."""

    verb: Verb
    heading: Heading | None
    """Set for moving verbs, and for a kick: where the ball goes."""
    start_frame: int
    end_frame: int
    start_m: tuple[float, float]
    """Ground point (x, y) at `start_frame`."""
    end_m: tuple[float, float]
    """Ground point at `end_frame`; equals `start_m` unless the verb moves."""
    facing_deg: float
    other: int | None = None
    """Index of the actor who is held or kicked here, or who holds or kicks this one."""

    @property
    def length_frames(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True, kw_only=True)
class Dye:
    """A colour as one says it and as it is drawn."""

    name: str
    rgb: Rgb


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person, an animal, a vehicle or a ball, with what it does in every frame of the video."""

    category: Category
    height_m: float
    footprint_m: tuple[float, float]
    """Half of its length along x and along y on the ground, however it turns, swinging arms aside."""
    colour: Dye
    """Of the shirt, the coat, the paint or the ball."""
    skin_rgb: Rgb
    hair: Dye
    trousers: Dye | None
    """None for who wears none; so with the others."""
    hat: Dye | None
    bag: Dye | None
    actions: tuple[Action, ...]
    """In order, without gaps: the first starts at frame 0, the last ends with the video."""

    @property
    def worn(self) -> frozenset[str]:
        """Names of all colours that it wears or is."""
        return frozenset(dye.name for dye in (self.colour, self.trousers, self.hat, self.bag) if dye is not None)


@dataclass(frozen=True, kw_only=True)
class Prop:
    """A thing that stays where it is."""

    kind: Literal["tree", "bush", "crate", "chair"]
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
