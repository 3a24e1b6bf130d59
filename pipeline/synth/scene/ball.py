"""What a ball does that somebody kicks or holds up: its timeline follows from that person's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.synth.scene.script import Action, Actor
from pipeline.synth.scene.timeline import STEP_M, Film

REACH = 0.26
"""Between the middle of a person and the near side of the ball in front, as a fraction of the height."""
KICK_AT = 0.5
"""Part of a kick after which the foot meets the ball."""
ROLL_M_S = (1.6, 3.6)
"""Speed of a ball that was just kicked."""


def ball_actions(
    rng: np.random.Generator, person_index: int, person: Actor, radius_m: float, film: Film
) -> tuple[Action, ...]:
    """The ball lies still, is held or kicked by the person, and lies still again."""
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
    """The action with rests around it that fill the video."""
    rests: Sequence[Action] = (
        replace(lies, end_frame=one.start_frame),
        replace(lies, start_frame=one.end_frame, start_m=one.end_m, end_m=one.end_m),
    )
    return tuple(action for action in (rests[0], one, rests[1]) if action.length_frames > 0)
