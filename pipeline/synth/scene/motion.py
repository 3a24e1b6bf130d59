"""Where an actor stands and which way it faces in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.scene.script import MOVING, Action

RAMP_S = 0.35
"""Time in which a mover reaches its speed, and in which it stops."""
TURN_S = 0.4


def speeds(length: int, rate: Fraction, *, is_kicked: bool = False) -> Floats:
    """Speed over a move of `length` frames, (length,) in (0, 1]: it rises, holds and falls.

    A ball that was kicked is fastest at once, and slows down to the end.
    """
    step = np.arange(length) + 0.5
    if is_kicked:
        return 1.0 - step / length
    edge = min(RAMP_S * float(rate), max(1.0, length / 4))
    return np.asarray(np.clip(np.minimum(step, length - step) / edge, 0.0, 1.0))


def places(actions: Sequence[Action], rate: Fraction) -> Floats:
    """Ground points (frames, 2) in metres."""
    parts = []
    for action in actions:
        start, end = np.array(action.start_m), np.array(action.end_m)
        done = np.zeros(action.length_frames)
        if action.verb in MOVING:
            speed = speeds(action.length_frames, rate, is_kicked=action.other is not None)
            done[1:] = np.cumsum(speed)[:-1] / speed.sum()
        parts.append(start + done[:, None] * (end - start))
    return np.concatenate(parts)


def facings(actions: Sequence[Action], rate: Fraction) -> Floats:
    """Yaw in radians, (frames,), continuous: each action begins with a turn the short way round."""
    parts = []
    now = np.radians(actions[0].facing_deg)
    for action in actions:
        turn = (np.radians(action.facing_deg) - now + np.pi) % (2 * np.pi) - np.pi
        done = np.clip((np.arange(action.length_frames) + 1) / (TURN_S * float(rate)), 0, 1)
        parts.append(now + turn * done * done * (3 - 2 * done))
        now = parts[-1][-1]
    return np.concatenate(parts)


def travelled(points_m: Floats) -> Floats:
    """Metres gone since the first frame, (frames,), for ground points (frames, 2)."""
    steps = np.hypot(*np.diff(points_m, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])
