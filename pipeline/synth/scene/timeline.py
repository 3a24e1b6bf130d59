"""Sample the actions of one actor for the duration of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.synth.scene.catalogue import Kind
from pipeline.synth.scene.motion import speeds
from pipeline.synth.scene.script import FACING_DEG, MOVING, Action, Heading, Verb

LENGTH = (0.285, 0.45)
"""Median length of an action as a fraction of the video, and the standard deviation of its logarithm."""
LENGTH_RANGE = (0.08, 0.60)
"""Smallest and largest length of an action, as fractions of the video."""
SHORTEST_S = 0.8
"""Minimum duration of an action in seconds."""
KICK_S = 1.3
"""Maximum duration of a kick in seconds, unless the shortest action is longer."""
VIEW = 0.33
"""Half the usable width at a distance of 1 m from a camera that looks straight ahead."""
BEYOND_M = 2.2
"""Maximum distance in meters beyond the usable width for actors that enter or leave the frame."""
ROAMING = 0.4
"""Probability that an actor may enter or leave the frame; vehicles always may."""
STEP_TRIES = 8
"""Maximum number of attempts to sample an action that differs from the previous one."""
STEP_M: dict[Heading, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "towards": (0, -1),
    "away": (0, 1),
}
SIDEWAYS: tuple[Heading, ...] = ("left", "right")
ANYWHERE: tuple[Heading, ...] = ("left", "right", "left", "right", "towards", "away")


@dataclass(frozen=True, kw_only=True)
class Film:
    """Length and rate of the video that a timeline fills."""

    frames: int
    rate: Fraction

    @property
    def shortest_frames(self) -> int:
        return max(round(LENGTH_RANGE[0] * self.frames), round(SHORTEST_S * float(self.rate)))


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An action without a position."""

    verb: Verb
    heading: Heading | None
    length_frames: int
    move_m: tuple[float, float]
    facing_deg: float | None
    """Direction of the actor; None keeps the previous one."""


def draw_actions(
    rng: np.random.Generator, kind: Kind, film: Film, *, is_vehicle: bool = False, play: Verb | None = None
) -> tuple[Action, ...] | None:
    """Sample actions that fill the video.

    Args:
        rng: the random generator.
        kind: properties of the actor's category.
        film: length and rate of the video.
        is_vehicle: sample a single move with rests around it.
        play: a verb that must occur once.

    Returns:
        the actions, or None if the sampled ones do not fit on the visible ground; then call again.
    """
    steps = _draw_ride(rng, kind, film) if is_vehicle else _draw_steps(rng, kind, film, play=play)
    if steps is None:
        return None
    # Compute the path from (0, 0) first; its extent limits the starts that keep it on the usable ground.
    path = np.concatenate([np.zeros((1, 2)), np.cumsum([step.move_m for step in steps], axis=0)])
    y_low, y_high = np.array(kind.lanes_m) - (path[:, 1].min(), path[:, 1].max())
    if y_low > y_high:
        return None
    y = float(rng.uniform(y_low, y_high))
    roams = is_vehicle or rng.random() < ROAMING
    reach = VIEW * (y + path[:, 1].min()) + (BEYOND_M + kind.footprint[0] if roams else 0.0)
    x_low, x_high = -reach - path[:, 0].min(), reach - path[:, 0].max()
    if x_low > x_high:
        return None
    start = np.array([rng.uniform(x_low, x_high), y])
    return _placed(steps, path + start, _first_facing(rng, steps, is_vehicle))


def _draw_steps(rng: np.random.Generator, kind: Kind, film: Film, *, play: Verb | None) -> list[_Step] | None:
    """Sample steps so that consecutive ones differ; None if `play` does not fit."""
    lengths = draw_lengths(rng, film)
    at = int(rng.integers(1, len(lengths))) if play is not None and len(lengths) > 1 else None
    if play is not None and at is None:
        return None
    if play == "kick" and at is not None:
        kick = min(lengths[at], max(film.shortest_frames, round(KICK_S * float(film.rate))))
        lengths[at - 1] += lengths[at] - kick
        lengths[at] = kick
    steps: list[_Step] = []
    for index, length in enumerate(lengths):
        for _ in range(STEP_TRIES):
            verb = play if play is not None and index == at else _draw_verb(rng, kind)
            step = _draw_step(rng, kind, verb, length, film.rate, before=steps)
            if not steps or (step.verb, step.heading) != (steps[-1].verb, steps[-1].heading):
                steps.append(step)
                break
        else:
            return None
    return steps


def _draw_ride(rng: np.random.Generator, kind: Kind, film: Film) -> list[_Step]:
    """Sample one move with rests around it. With two moves in the same direction a sentence would match both."""
    lengths = draw_lengths(rng, film)
    at = int(rng.integers(len(lengths)))
    (verb,) = kind.verbs
    parts: tuple[tuple[Verb, int], ...] = (
        ("rest", sum(lengths[:at])),
        (verb, lengths[at]),
        ("rest", sum(lengths[at + 1 :])),
    )
    return [_draw_step(rng, kind, name, length, film.rate) for name, length in parts if length > 0]


def _draw_step(
    rng: np.random.Generator,
    kind: Kind,
    verb: Verb,
    length: int,
    rate: Fraction,
    *,
    before: Sequence[_Step] = (),
) -> _Step:
    heading: Heading | None = None
    facing_deg: float | None = None
    move_m = (0.0, 0.0)
    if verb in MOVING:
        choices = SIDEWAYS if verb in ("roll", "drive") else ANYWHERE
        heading = choices[int(rng.integers(len(choices)))]
        facing_deg = FACING_DEG[heading]
        metres = float(rng.uniform(*kind.speed_m_s[verb]) * speeds(length, rate).sum() / rate)
        x, y = STEP_M[heading]
        move_m = (x * metres, y * metres)
    elif verb == "kick":
        # Kick in the direction of the last move, so that the ball was not in the person's way.
        gone = next((step.heading for step in reversed(before) if step.heading is not None), None)
        heading = gone if gone in SIDEWAYS else SIDEWAYS[int(rng.integers(2))]
        facing_deg = FACING_DEG[heading]
    elif verb != "rest":
        # Actors wave, jump, crouch and sit facing roughly toward the camera.
        facing_deg = float(rng.uniform(225, 315))
    return _Step(verb=verb, heading=heading, length_frames=length, move_m=move_m, facing_deg=facing_deg)


def _placed(steps: list[_Step], points: np.ndarray, facing_deg: float) -> tuple[Action, ...]:
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


def _first_facing(rng: np.random.Generator, steps: list[_Step], is_vehicle: bool) -> float:
    if is_vehicle:
        return next((step.facing_deg for step in steps if step.facing_deg is not None), 0.0)
    return float(rng.choice([270.0, rng.uniform(180, 360)]))


def draw_lengths(rng: np.random.Generator, film: Film) -> list[int]:
    """Sample the lengths in frames of consecutive actions that fill the video."""
    shortest, longest = film.shortest_frames, int(LENGTH_RANGE[1] * film.frames)
    lengths: list[int] = []
    spare = film.frames
    while spare > 0:
        length = round(film.frames * LENGTH[0] * float(np.exp(LENGTH[1] * rng.standard_normal())))
        length = min(max(length, shortest), longest, spare)
        # If the rest is too short for an action, add it to this one, or shorten this one to make room for another.
        if 0 < spare - length < shortest:
            length = spare if spare <= longest else spare - shortest
        lengths.append(length)
        spare -= length
    return [lengths[int(index)] for index in rng.permutation(len(lengths))]


def _draw_verb(rng: np.random.Generator, kind: Kind) -> Verb:
    if rng.random() < kind.rest:
        return "rest"
    verbs = list(kind.verbs)
    weights = np.array([kind.verbs[verb] for verb in verbs], dtype=float)
    return verbs[int(rng.choice(len(verbs), p=weights / weights.sum()))]
