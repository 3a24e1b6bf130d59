"""When an actor does something, and how fast its gait goes: arrays (frames,) that poses are made of."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.scene.motion import travelled
from pipeline.synth.scene.script import Actor, Verb

EASE_S = 0.3
EASE_SHARE = 0.35
"""Most of a short action that its ease takes at each end."""


def window(actor: Actor, verb: Verb, rate: Fraction, ease_s: float = EASE_S) -> Floats:
    """1 while the actor does `verb`, else 0, eased inside the action."""
    parts = []
    for action in actor.actions:
        step = np.arange(action.length_frames) + 1.0
        ease = max(1.0, min(ease_s * float(rate), EASE_SHARE * action.length_frames))
        edge = np.minimum(step, action.length_frames - step + 1) / ease
        parts.append(np.minimum(1.0, edge) if action.verb == verb else np.zeros(len(step)))
    return np.concatenate(parts)


def going(path: Floats, rate: Fraction) -> Floats:
    """0 at rest, 1 from a slow walk on."""
    speed_m_s = np.gradient(travelled(path)) * float(rate)
    return np.clip(speed_m_s / 0.6, 0.0, 1.0)


def phase(path: Floats, stride_m: Floats) -> Floats:
    """Angle of the gait: one turn a stride, so that feet do not slide."""
    steps = np.diff(travelled(path), prepend=0.0)
    return 2 * np.pi * np.cumsum(steps / stride_m)
