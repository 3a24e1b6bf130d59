"""Time courses of actions and gaits as arrays (frames,), from which poses are computed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.scene.motion import travelled
from pipeline.synth.scene.script import Actor, Verb

EASE_S = 0.3
"""Default duration of the transition at both ends of an action, in seconds."""
EASE_SHARE = 0.35
"""Maximum length of each transition, as a fraction of the action."""


def window(actor: Actor, verb: Verb, rate: Fraction, ease_s: float = EASE_S) -> Floats:
    """Return 1 while the actor does `verb`, else 0, with linear transitions inside the action: (frames,)."""
    parts = []
    for action in actor.actions:
        step = np.arange(action.length_frames) + 1.0
        ease = max(1.0, min(ease_s * float(rate), EASE_SHARE * action.length_frames))
        edge = np.minimum(step, action.length_frames - step + 1) / ease
        parts.append(np.minimum(1.0, edge) if action.verb == verb else np.zeros(len(step)))
    return np.concatenate(parts)


def going(path: Floats, rate: Fraction) -> Floats:
    """Return the intensity of the gait: 0 at rest, 1 at 0.6 m/s or faster: (frames,)."""
    speed_m_s = np.gradient(travelled(path)) * float(rate)
    return np.clip(speed_m_s / 0.6, 0.0, 1.0)


def phase(path: Floats, stride_m: Floats) -> Floats:
    """Return the phase of the gait in radians, one turn per stride, so that feet do not slide: (frames,)."""
    steps = np.diff(travelled(path), prepend=0.0)
    return 2 * np.pi * np.cumsum(steps / stride_m)
