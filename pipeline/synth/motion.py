"""Where an actor stands and which way it faces in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.script import MOVING, Action

RAMP_FRAMES = 5
"""Frames in which a mover reaches its speed, and in which it stops."""
TURN_FRAMES = 6


def ramp(frames: int) -> Floats:
    """Speed over a move of `frames` frames, (frames,) in (0, 1]: it rises, holds and falls."""
    step = np.arange(frames) + 0.5
    length = min(RAMP_FRAMES, max(1, frames // 4))
    speed: Floats = np.clip(np.minimum(step, frames - step) / length, 0.0, 1.0)
    return speed


def places(actions: Sequence[Action]) -> Floats:
    """Ground points (frames, 2) in metres."""
    parts = []
    for action in actions:
        start, end = np.array(action.start_m), np.array(action.end_m)
        done = np.zeros(action.length_frames)
        if action.verb in MOVING:
            speed = ramp(action.length_frames)
            done[1:] = np.cumsum(speed)[:-1] / speed.sum()
        parts.append(start + done[:, None] * (end - start))
    return np.concatenate(parts)


def facings(actions: Sequence[Action]) -> Floats:
    """Yaw in radians, (frames,), continuous: each action begins with a turn the short way round."""
    parts = []
    now = np.radians(actions[0].facing_deg)
    for action in actions:
        turn = (np.radians(action.facing_deg) - now + np.pi) % (2 * np.pi) - np.pi
        done = np.clip((np.arange(action.length_frames) + 1) / TURN_FRAMES, 0, 1)
        parts.append(now + turn * done * done * (3 - 2 * done))
        now = parts[-1][-1]
    return np.concatenate(parts)


def travelled(points_m: Floats) -> Floats:
    """Metres gone since the first frame, (frames,), for ground points (frames, 2)."""
    steps = np.hypot(*np.diff(points_m, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])
