"""What one actor does from the first frame to the last."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.synth.cast import Kind
from pipeline.synth.motion import ramp
from pipeline.synth.script import FACING_DEG, MOVING, Action, Heading, Verb

FIELD_M = ((-3.6, 3.6), (4.6, 8.6))
"""x and y ranges of the ground that actors use; props stand behind it."""
ACTIVE_FRACTION = (0.2, 0.42)
"""Length of an action that is more than rest, as a fraction of the video."""
REST_FRAMES = 8
"""Shortest rest."""
STEP_M: dict[Heading, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "towards": (0, -1),
    "away": (0, 1),
}
SIDEWAYS: tuple[Heading, ...] = ("left", "right")
ANYWHERE: tuple[Heading, ...] = ("left", "right", "left", "right", "towards", "away")


def draw_actions(rng: np.random.Generator, kind: Kind, *, frames: int, rate: Fraction) -> tuple[Action, ...] | None:
    """Rests and one to three actions between them that fill `frames`.

    None when the moves drawn do not fit the field: the caller draws again.
    """
    steps = [
        _draw_step(rng, kind, "rest" if index % 2 == 0 else _draw_verb(rng, kind), length, rate)
        for index, length in enumerate(_draw_lengths(rng, frames))
        if length > 0
    ]
    # The path from a start at (0, 0) says which starts keep all of it inside the field.
    path = np.concatenate([np.zeros((1, 2)), np.cumsum([step.move_m for step in steps], axis=0)])
    low, high = np.array(FIELD_M).T - (path.min(axis=0), path.max(axis=0))
    if (low > high).any():
        return None
    points = path + rng.uniform(low, high)
    facing_deg = float(rng.choice([270.0, rng.uniform(180, 360)]))
    actions: list[Action] = []
    now = 0
    for step, start, end in zip(steps, points[:-1], points[1:], strict=True):
        facing_deg = facing_deg if step.facing_deg is None else step.facing_deg
        actions.append(
            Action(
                verb=step.verb,
                heading=step.heading,
                start_frame=now,
                end_frame=now + step.length_frames,
                start_m=(float(start[0]), float(start[1])),
                end_m=(float(end[0]), float(end[1])),
                facing_deg=facing_deg,
            )
        )
        now += step.length_frames
    return tuple(actions)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An action that has no place yet."""

    verb: Verb
    heading: Heading | None
    length_frames: int
    move_m: tuple[float, float]
    facing_deg: float | None
    """None: as before."""


def _draw_step(rng: np.random.Generator, kind: Kind, verb: Verb, length: int, rate: Fraction) -> _Step:
    if verb not in MOVING:
        # Whoever waves or jumps does it towards the camera, more or less.
        facing_deg = None if verb == "rest" else float(rng.uniform(240, 300))
        return _Step(verb=verb, heading=None, length_frames=length, move_m=(0.0, 0.0), facing_deg=facing_deg)
    headings = SIDEWAYS if verb == "roll" else ANYWHERE
    heading = headings[int(rng.integers(len(headings)))]
    metres = float(rng.uniform(*kind.speed_m_s[verb]) * ramp(length).sum() / rate)
    x, y = STEP_M[heading]
    return _Step(
        verb=verb,
        heading=heading,
        length_frames=length,
        move_m=(x * metres, y * metres),
        facing_deg=FACING_DEG[heading],
    )


def _draw_lengths(rng: np.random.Generator, frames: int) -> list[int]:
    """Frames of rest, action, rest, action, ..., rest; a rest of 0 frames is left out."""
    while True:
        active = [int(frames * rng.uniform(*ACTIVE_FRACTION)) for _ in range(int(rng.integers(1, 4)))]
        spare = frames - sum(active)
        kept = rng.random(len(active) + 1) < 0.7
        rests = rng.dirichlet(np.full(len(active) + 1, 2.0)) * kept
        if spare < REST_FRAMES or not kept.any():
            continue
        rest_frames = [int(share) for share in np.floor(rests / rests.sum() * spare)]
        rest_frames[int(np.argmax(rests))] += spare - sum(rest_frames)
        if all(length == 0 or length >= REST_FRAMES for length in rest_frames):
            pairs = zip(rest_frames, [*active, 0], strict=True)
            return [length for pair in pairs for length in pair][:-1]


def _draw_verb(rng: np.random.Generator, kind: Kind) -> Verb:
    verbs = list(kind.verbs)
    weights = np.array([kind.verbs[verb] for verb in verbs], dtype=float)
    return verbs[int(rng.choice(len(verbs), p=weights / weights.sum()))]
