"""Position and direction of an actor in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.scene.script import MOVING, Action

RAMP_S = 0.35
"""Time to reach full speed, and to stop, in seconds."""
TURN_S = 0.4
"""Time to turn, in seconds."""


def speeds(length: int, rate: Fraction, *, is_kicked: bool = False) -> Floats:
    """Compute the relative speed during a move of `length` frames: it rises, stays constant and falls.

    A kicked ball starts at full speed and slows down until the end.

    Returns:
        float (length,) in (0, 1].
    """
    step = np.arange(length) + 0.5
    if is_kicked:
        return 1.0 - step / length
    edge = min(RAMP_S * float(rate), max(1.0, length / 4))
    return np.asarray(np.clip(np.minimum(step, length - step) / edge, 0.0, 1.0))


def places(actions: Sequence[Action], rate: Fraction) -> Floats:
    """Compute the ground points of an actor in meters: float (frames, 2)."""
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
    """Compute the yaw in radians: (frames,), continuous. Each action starts with the shorter turn to its direction."""
    parts = []
    now = np.radians(actions[0].facing_deg)
    for action in actions:
        turn = (np.radians(action.facing_deg) - now + np.pi) % (2 * np.pi) - np.pi
        done = np.clip((np.arange(action.length_frames) + 1) / (TURN_S * float(rate)), 0, 1)
        parts.append(now + turn * done * done * (3 - 2 * done))
        now = parts[-1][-1]
    return np.concatenate(parts)


def travelled(points_m: Floats) -> Floats:
    """Compute the distance in meters traveled since the first frame, (frames,), from ground points (frames, 2)."""
    steps = np.hypot(*np.diff(points_m, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])
