"""Data types of a scene: actors with their clothes and actions, environment and camera."""

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
"""`held` and `kicked` are the actions of a ball during a person's `hold` and `kick`."""
Heading = Literal["left", "right", "towards", "away"]
Place = Literal["park", "yard", "hall"]
Split = Literal["train", "val", "test", "test-unseen-words", "test-unseen-combinations"]

PEOPLE: frozenset[Category] = frozenset({"man", "woman", "child"})
ANIMALS: frozenset[Category] = frozenset({"dog", "cat", "horse"})
VEHICLES: frozenset[Category] = frozenset({"car", "bicycle"})
MOVING: frozenset[Verb] = frozenset({"walk", "run", "roll", "drive"})
FACING_DEG: dict[Heading, float] = {"right": 0.0, "away": 90.0, "left": 180.0, "towards": 270.0}
"""Yaw of each direction, counterclockwise from the world's right as seen from above."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of an actor in the frames [start_frame, end_frame)."""

    verb: Verb
    heading: Heading | None
    """Direction of a moving verb, or of the ball in a kick; None for other verbs."""
    start_frame: int
    end_frame: int
    start_m: tuple[float, float]
    """Ground point (x, y) at `start_frame`."""
    end_m: tuple[float, float]
    """Ground point at `end_frame`; equal to `start_m` unless the verb is a moving verb."""
    facing_deg: float
    other: int | None = None
    """Index of the other actor of a kick or hold."""

    @property
    def length_frames(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True, kw_only=True)
class Dye:
    """A color: its name in sentences and its RGB value."""

    name: str
    rgb: Rgb


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person, an animal, a vehicle or a ball, and its actions."""

    category: Category
    height_m: float
    footprint_m: tuple[float, float]
    """Half the lengths along x and y on the ground, for any direction, without swinging arms."""
    colour: Dye
    """Color of the shirt, the coat, the paint or the ball."""
    skin_rgb: Rgb
    hair: Dye
    trousers: Dye | None
    """Color of the trousers; None if the actor wears none. The same applies to hat and bag."""
    hat: Dye | None
    bag: Dye | None
    actions: tuple[Action, ...]
    """Actions in order, without gaps: the first starts at frame 0, the last ends with the video."""

    @property
    def worn(self) -> frozenset[str]:
        """Names of all colors of the actor and its clothing, without skin and hair."""
        return frozenset(dye.name for dye in (self.colour, self.trousers, self.hat, self.bag) if dye is not None)


@dataclass(frozen=True, kw_only=True)
class Prop:
    """An object that does not move."""

    kind: Literal["tree", "bush", "crate", "chair"]
    at_m: tuple[float, float]
    height_m: float
    rgb: Rgb


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The environment of a scene: place, props and light."""

    place: Place
    ground_rgb: Rgb
    wall_rgb: Rgb
    wall_distance_m: float
    """Distance from the camera to the wall behind the actors; a park has no wall."""
    sun_deg: tuple[float, float]
    """Azimuth (0 is to the right, 270 is behind the camera) and elevation of the light."""
    props: tuple[Prop, ...]
    texture_seed: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """The complete description of a video."""

    frames: int
    """Number of frames."""
    rate: Fraction
    """Frames per second."""
    camera: Camera
    stage: Stage
    actors: tuple[Actor, ...]
