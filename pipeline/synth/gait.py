"""How a figure holds its limbs in each frame: angles of the joints that `figures` declares.

Angles are radians, offsets metres, every array (frames,). A leg or arm angle is positive forwards, a knee
or elbow angle positive where it bends naturally.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.motion import facings, places, travelled
from pipeline.synth.script import Actor, Verb

Pose = dict[str, Floats]

THIGH, SHIN, ANKLE = 0.245, 0.225, 0.045
"""A person's leg, hip to knee to ankle to ground, as fractions of the height."""
DOG_THIGH, DOG_SHIN, DOG_PAW = 0.27, 0.25, 0.05
"""A dog's leg, as fractions of its height."""
EASE_FRAMES = 4
JUMP_S = 0.85
JUMP_M = 0.24


def poses(actor: Actor, rate: Fraction) -> Pose:
    """All joints of `actor` by name, over all frames of the video."""
    path = places(actor.actions)
    common: Pose = {"x": path[:, 0], "y": path[:, 1], "yaw": facings(actor.actions)}
    if actor.category == "ball":
        turn = (path[:, 0] - path[0, 0]) / (actor.height_m / 2)
        still = np.zeros(len(path))
        return common | {"z": still + actor.height_m / 2, "yaw": still, "spin": turn}
    limbs = _dog(actor, path, rate) if actor.category == "dog" else _person(actor, path, rate)
    return common | limbs


def _person(actor: Actor, path: Floats, rate: Fraction) -> Pose:
    running, going = _window(actor, "run"), _going(path, rate)
    stride_m = actor.height_m * (0.78 + 0.55 * running)
    phase = _phase(path, stride_m)
    swing = going * (0.46 + 0.34 * running)
    bend = going * (0.85 + 0.75 * running)
    crouch, hop = _jumps(actor, rate)
    pose: Pose = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip = sign * swing * np.sin(phase) + 0.12 * running * going + crouch
        knee = 0.04 + bend * np.maximum(0.0, sign * np.cos(phase)) + 0.15 * going + 2 * crouch
        pose |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": knee - hip}
        pose[f"{side}_shoulder"] = -sign * swing * 0.9 * np.sin(phase) + 2.4 * hop / JUMP_M - crouch
        pose[f"{side}_raise"] = 0.09 + np.zeros(len(path))
        pose[f"{side}_elbow"] = 0.15 + going * (0.15 + 1.15 * running) + crouch
    time_s = np.arange(len(path)) / float(rate)
    waving = _window(actor, "wave")
    pose["right_raise"] = pose["right_raise"] + waving * (2.3 + 0.38 * np.sin(2 * np.pi * 1.7 * time_s))
    lift = 0.05 * actor.height_m * running * going * np.abs(np.sin(phase))
    legs = [
        actor.height_m * (THIGH * np.cos(hip) + SHIN * np.cos(hip - knee) + ANKLE)
        for hip, knee in ((pose[f"{side}_hip"], pose[f"{side}_knee"]) for side in ("left", "right"))
    ]
    # The longer leg carries: its sole is on the ground, whatever the joints do.
    pose["z"] = np.maximum(*legs) + hop + lift
    pose["lean"] = going * (0.03 + 0.16 * running) + 0.5 * crouch
    return pose


def _dog(actor: Actor, path: Floats, rate: Fraction) -> Pose:
    running, going = _window(actor, "run"), _going(path, rate)
    phase = _phase(path, actor.height_m * (0.95 + 0.75 * running))
    swing = going * (0.42 + 0.28 * running)
    time_s = np.arange(len(path)) / float(rate)
    pose: Pose = {"tail": 0.4 * np.sin(2 * np.pi * 2.2 * time_s)}
    reach = []
    for leg, shift in (("front_left", 0.0), ("front_right", 1.0), ("hind_left", 1.0), ("hind_right", 0.0)):
        # A trot moves diagonal legs together; a gallop brings the pairs nearly into step.
        gallop = (0.15 if leg.endswith("left") else 0.0) + (0.0 if leg.startswith("front") else 0.9)
        angle = phase + np.pi * ((1 - running) * shift + running * gallop)
        hip = swing * np.sin(angle)
        knee = 0.1 + going * (0.7 + 0.3 * running) * np.maximum(0.0, np.cos(angle))
        pose |= {f"{leg}_hip": hip, f"{leg}_knee": knee}
        reach.append(actor.height_m * (DOG_THIGH * np.cos(hip) + DOG_SHIN * np.cos(hip - knee) + DOG_PAW))
    pose["z"] = np.max(reach, axis=0)
    pose["lean"] = 0.07 * running * going * np.sin(phase)
    return pose


def _window(actor: Actor, verb: Verb) -> Floats:
    """1 while the actor does `verb`, else 0, eased over a few frames inside the action."""
    parts = []
    for action in actor.actions:
        step = np.arange(action.length_frames) + 1.0
        edge = np.minimum(step, action.length_frames - step + 1) / EASE_FRAMES
        parts.append(np.minimum(1.0, edge) if action.verb == verb else np.zeros(len(step)))
    return np.concatenate(parts)


def _going(path: Floats, rate: Fraction) -> Floats:
    """0 at rest, 1 from a slow walk on."""
    speed_m_s = np.gradient(travelled(path)) * float(rate)
    return np.clip(speed_m_s / 0.6, 0.0, 1.0)


def _phase(path: Floats, stride_m: Floats) -> Floats:
    """Angle of the gait: one turn a stride, so that feet do not slide."""
    steps = np.diff(travelled(path), prepend=0.0)
    return 2 * np.pi * np.cumsum(steps / stride_m)


def _jumps(actor: Actor, rate: Fraction) -> tuple[Floats, Floats]:
    """Bend of hips in radians and height above the ground in metres: whole jumps fill each action."""
    crouch, hop = [], []
    for action in actor.actions:
        length = action.length_frames
        if action.verb != "jump":
            crouch.append(np.zeros(length))
            hop.append(np.zeros(length))
            continue
        count = max(1, round(length / float(rate) / JUMP_S))
        beat = (np.arange(length) / length * count) % 1.0
        ground, air = 0.45, np.clip((beat - 0.45) / 0.55, 0.0, 1.0)
        crouch.append(np.where(beat < ground, 0.5 * np.sin(np.pi * beat / ground), 0.0))
        hop.append(JUMP_M * 4 * air * (1 - air))
    return np.concatenate(crouch), np.concatenate(hop)
