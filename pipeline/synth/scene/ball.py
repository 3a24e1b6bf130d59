"""Actions of a ball that a person kicks or holds up, derived from the person's actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.synth.scene.script import Action, Actor
from pipeline.synth.scene.timeline import STEP_M, Film

REACH = 0.26
"""Distance from a person's center to the near side of the ball, as a fraction of the person's height."""
KICK_AT = 0.5
"""Fraction of a kick after which the foot touches the ball."""
ROLL_M_S = (1.6, 3.6)
"""Range of the initial speed of a kicked ball in m/s."""


def ball_actions(
    rng: np.random.Generator, person_index: int, person: Actor, radius_m: float, film: Film
) -> tuple[Action, ...]:
    """Sample the actions of a ball: at rest, held or rolling after a kick, and at rest again.

    Args:
        rng: the random generator.
        person_index: the index of the person in the script.
        person: the person; one of their actions is "kick" or "hold".
        radius_m: radius of the ball in meters.
        film: length and rate of the video.
    """
    play = next(action for action in person.actions if action.verb in ("kick", "hold"))
    ahead = np.radians(play.facing_deg)
    reach_m = REACH * person.height_m + radius_m
    at_m = (
        float(play.start_m[0] + reach_m * np.cos(ahead)),
        float(play.start_m[1] + reach_m * np.sin(ahead)),
    )
    lies = Action(
        verb="rest", heading=None, start_frame=0, end_frame=film.frames, start_m=at_m, end_m=at_m, facing_deg=0.0
    )
    if play.verb == "hold":
        held = replace(lies, verb="held", start_frame=play.start_frame, end_frame=play.end_frame, other=person_index)
        return _filled(lies, held)
    contact = play.start_frame + round(KICK_AT * play.length_frames)
    shortest, longest = film.shortest_frames, film.frames - contact
    length = min(longest, max(shortest, int(rng.uniform(0.12, 0.35) * film.frames)))
    if longest - length < shortest:
        length = longest
    assert play.heading is not None
    metres = float(rng.uniform(*ROLL_M_S)) * length / float(film.rate) / 2
    x, y = STEP_M[play.heading]
    rolls = replace(
        lies,
        verb="roll",
        heading=play.heading,
        start_frame=contact,
        end_frame=contact + length,
        end_m=(at_m[0] + x * metres, at_m[1] + y * metres),
        other=person_index,
    )
    return _filled(lies, rolls)


def _filled(lies: Action, one: Action) -> tuple[Action, ...]:
    """Return the action, with rests before and after it that fill the video."""
    rests: Sequence[Action] = (
        replace(lies, end_frame=one.start_frame),
        replace(lies, start_frame=one.end_frame, start_m=one.end_m, end_m=one.end_m),
    )
    return tuple(action for action in (rests[0], one, rests[1]) if action.length_frames > 0)
