"""Values of the joints declared in `bodies`, for each frame.

Angles are in radians and offsets in meters; every array is (frames,). Leg and arm angles are positive forward. Knee and
elbow angles are positive in the natural direction.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.rendering.animals import beast
from pipeline.synth.rendering.easing import going, phase, window
from pipeline.synth.scene.ball import KICK_AT, REACH
from pipeline.synth.scene.motion import facings, places
from pipeline.synth.scene.script import ANIMALS, VEHICLES, Actor, Script

Pose = dict[str, Floats]

THIGH, SHIN, ANKLE = 0.245, 0.225, 0.045
"""Lengths of a person's leg from hip to knee, knee to ankle and ankle to ground, as fractions of the height."""
WHEELS: dict[str, float] = {"car": 0.215, "bicycle": 0.32}
"""Radii of wheels, as fractions of the vehicle's height."""
SHOULDER = 0.265
"""Height of the shoulders above the hips, as a fraction of the height."""
JUMP_S = 0.85
"""Approximate duration of one jump in seconds."""
JUMP_M = 0.24
"""Height of a jump in meters."""
SIT_S, GRASP_S = 0.6, 0.7
"""Durations of sitting down and of lifting a ball, in seconds."""


def poses(script: Script, index: int) -> Pose:
    """Compute the values of all joints of an actor, by joint, for all frames of the video.

    Args:
        script: the scene.
        index: the actor's index in the script.
    """
    actor, rate = script.actors[index], script.rate
    path = places(actor.actions, rate)
    common: Pose = {"x": path[:, 0], "y": path[:, 1], "yaw": facings(actor.actions, rate)}
    if actor.category == "ball":
        return common | _ball(script, actor, path)
    if actor.category in VEHICLES:
        forward = path[:, 0] * np.sign(np.cos(np.radians(actor.actions[0].facing_deg)))
        turned = forward / (WHEELS[actor.category] * actor.height_m)
        return common | {"spin": turned, "rear_spin": turned}
    return common | (beast(actor, path, rate) if actor.category in ANIMALS else _person(script, actor, path))


def _ball(script: Script, ball: Actor, path: Floats) -> Pose:
    turn = (path[:, 0] - path[0, 0]) / (ball.height_m / 2)
    still = np.zeros(len(path))
    pose: Pose = {"x": path[:, 0], "y": path[:, 1], "z": still + ball.height_m / 2, "yaw": still, "spin": turn}
    holder = next((action.other for action in ball.actions if action.verb == "held"), None)
    if holder is not None:
        person = script.actors[holder]
        held = next(action for action in person.actions if action.verb == "hold")
        ahead = np.radians(held.facing_deg)
        forward, height = _lift(person, ball, script.rate)
        nearer = forward - forward[0]
        pose |= {"x": pose["x"] + np.cos(ahead) * nearer, "y": pose["y"] + np.sin(ahead) * nearer, "z": height}
    return pose


def _lift(person: Actor, ball: Actor, rate: Fraction) -> tuple[Floats, Floats]:
    """Return a held ball's distance in front of the person and its height in meters; it moves overhead and back."""
    up = window(person, "hold", rate, GRASP_S)
    up = up * up * (3 - 2 * up)
    radius_m, height_m = ball.height_m / 2, person.height_m
    low = REACH * height_m + radius_m
    forward = low + (0.10 * height_m - low) * up + 0.12 * height_m * np.sin(np.pi * up)
    return forward, radius_m + (1.12 * height_m) * up


def _person(script: Script, actor: Actor, path: Floats) -> Pose:
    rate, tall = script.rate, actor.height_m
    running, moving = window(actor, "run", rate), going(path, rate)
    turn = phase(path, tall * (0.78 + 0.55 * running))
    swing = moving * (0.46 + 0.34 * running)
    bend = moving * (0.85 + 0.75 * running)
    squat, hop = _jumps(actor, rate)
    squat = squat + 1.05 * window(actor, "crouch", rate, 0.4)
    sitting = window(actor, "sit", rate, SIT_S)
    lift = next((action for action in actor.actions if action.verb == "hold"), None)
    grasp = np.zeros(len(path))
    if lift is not None:
        held = window(actor, "hold", rate, GRASP_S)
        grasp = np.sin(np.pi * held)
        squat = squat + 0.75 * grasp
    pose: Pose = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip = sign * swing * np.sin(turn) + 0.12 * running * moving + squat
        knee = 0.04 + bend * np.maximum(0.0, sign * np.cos(turn)) + 0.15 * moving + 2 * squat
        if side == "right":
            kick, kick_knee = _kicks(actor, rate)
            hip, knee = hip + kick, knee + kick_knee
        hip, knee = hip + sitting * (1.42 - hip), knee + sitting * (0.35 - knee)
        pose |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": (knee - hip) * (1 - sitting)}
        pose[f"{side}_shoulder"] = -sign * swing * 0.9 * np.sin(turn) + 2.4 * hop / JUMP_M - 0.6 * squat * (grasp == 0)
        pose[f"{side}_raise"] = 0.09 + np.zeros(len(path))
        pose[f"{side}_elbow"] = 0.15 + moving * (0.15 + 1.15 * running) + squat * (grasp == 0)
    time_s = np.arange(len(path)) / float(rate)
    waving = window(actor, "wave", rate)
    pose["right_raise"] = pose["right_raise"] + waving * (2.3 + 0.38 * np.sin(2 * np.pi * 1.7 * time_s))
    legs = [
        tall * (THIGH * np.cos(pose[f"{side}_hip"]) + SHIN * np.cos(pose[f"{side}_hip"] - pose[f"{side}_knee"]) + ANKLE)
        for side in ("left", "right")
    ]
    # Keep the sole of the longer leg on the ground.
    stands = np.maximum(*legs) + hop + 0.05 * tall * running * moving * np.abs(np.sin(turn))
    pose["z"] = stands + sitting * (0.085 * tall - stands)
    pose["lean"] = moving * (0.03 + 0.16 * running) + 0.5 * squat - 0.12 * sitting
    if lift is not None:
        _reach(pose, script, actor, held)
    return pose


def _reach(pose: Pose, script: Script, person: Actor, held: Floats) -> None:
    """Point the arms of a person at the ball that they hold, in place."""
    ball = next(other for action in person.actions if action.verb == "hold" for other in _others(script, action.other))
    forward, height = _lift(person, ball, script.rate)
    lean = pose["lean"]
    at_forward = SHOULDER * person.height_m * np.sin(lean)
    at_height = pose["z"] + SHOULDER * person.height_m * np.cos(lean)
    angle = np.arctan2(forward - at_forward, at_height - height) + lean
    weight = np.minimum(1.0, 3 * held)
    for side in ("left", "right"):
        for joint, aim in ((f"{side}_shoulder", angle), (f"{side}_elbow", 0.12), (f"{side}_raise", -0.04)):
            pose[joint] = pose[joint] + weight * (aim - pose[joint])


def _others(script: Script, index: int | None) -> tuple[Actor, ...]:
    return () if index is None else (script.actors[index],)


def _kicks(actor: Actor, rate: Fraction) -> tuple[Floats, Floats]:
    """Return the angles that kicks add to the right hip and knee: the leg swings back, then far forward."""
    hips, knees = [], []
    for action in actor.actions:
        # Seconds since the foot touches the ball.
        at_s = (np.arange(action.length_frames) - KICK_AT * action.length_frames) / float(rate)
        is_kick = action.verb == "kick"
        back = np.exp(-(((at_s + 0.30) / 0.14) ** 2)) * is_kick
        forth = np.exp(-(((at_s - 0.10) / 0.16) ** 2)) * is_kick
        hips.append(1.05 * forth - 0.6 * back)
        knees.append(0.9 * back + 0.1 * forth)
    return np.concatenate(hips), np.concatenate(knees)


def _jumps(actor: Actor, rate: Fraction) -> tuple[Floats, Floats]:
    """Return the hip angle in radians and the jump height in meters. Each action contains a whole number of jumps."""
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
