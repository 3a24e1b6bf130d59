"""Four-legged animals: body proportions and joint angles in each frame.

Lengths are fractions of the animal's height; angles are in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.rendering.easing import going, phase, window
from pipeline.synth.scene.script import Actor, Category


@dataclass(frozen=True, kw_only=True)
class Build:
    """Proportions of an animal. The origin is at the height of the hips."""

    thigh: float
    shin: float
    paw: float
    fore_x: float
    """x of the front legs."""
    hind_x: float
    """x of the hind legs."""
    apart: float
    """Half the distance between the left and right legs."""
    leg_radii: tuple[float, float]
    """Radii of thigh and shin."""
    trunk_radius: float
    neck: tuple[float, float, float, float]
    """x and z of the lower end, then x and z of the upper end."""
    neck_radius: float
    head_radius: float
    muzzle: tuple[float, float]
    """Length and radius of the muzzle."""


BUILDS: dict[Category, Build] = {
    "dog": Build(
        thigh=0.27,
        shin=0.25,
        paw=0.05,
        fore_x=0.32,
        hind_x=-0.38,
        apart=0.10,
        leg_radii=(0.062, 0.042),
        trunk_radius=0.150,
        neck=(0.36, 0.16, 0.53, 0.36),
        neck_radius=0.090,
        head_radius=0.118,
        muzzle=(0.20, 0.058),
    ),
    "cat": Build(
        thigh=0.23,
        shin=0.22,
        paw=0.05,
        fore_x=0.30,
        hind_x=-0.40,
        apart=0.085,
        leg_radii=(0.060, 0.045),
        trunk_radius=0.145,
        neck=(0.34, 0.14, 0.46, 0.27),
        neck_radius=0.090,
        head_radius=0.145,
        muzzle=(0.07, 0.060),
    ),
    "horse": Build(
        thigh=0.25,
        shin=0.25,
        paw=0.04,
        fore_x=0.24,
        hind_x=-0.32,
        apart=0.075,
        leg_radii=(0.050, 0.028),
        trunk_radius=0.135,
        neck=(0.28, 0.10, 0.45, 0.34),
        neck_radius=0.072,
        head_radius=0.070,
        muzzle=(0.16, 0.045),
    ),
}
LEGS: tuple[tuple[str, float], ...] = (
    ("front_left", 0.0),
    ("front_right", 1.0),
    ("hind_left", 1.0),
    ("hind_right", 0.0),
)
"""Phase of each leg in a trot, in half strides: diagonal legs move together."""


def beast(actor: Actor, path: Floats, rate: Fraction) -> dict[str, Floats]:
    """Compute the joint values of an animal.

    Args:
        actor: the animal.
        path: float (frames, 2), its ground points in meters.
        rate: frames per second.

    Returns:
        arrays (frames,) by joint.
    """
    build = BUILDS[actor.category]
    running, moving = window(actor, "run", rate), going(path, rate)
    turn = phase(path, actor.height_m * (0.95 + 0.75 * running))
    swing = moving * (0.42 + 0.28 * running)
    time_s = np.arange(len(path)) / float(rate)
    pose = {"tail": (0.15 if actor.category == "horse" else 0.4) * np.sin(2 * np.pi * 1.6 * time_s)}
    reach = []
    for leg, lag in LEGS:
        # In a gallop the two front legs, and the two hind legs, move almost in phase.
        gallop = (0.15 if leg.endswith("left") else 0.0) + (0.0 if leg.startswith("front") else 0.9)
        angle = turn + np.pi * ((1 - running) * lag + running * gallop)
        hip = swing * np.sin(angle)
        knee = 0.1 + moving * (0.7 + 0.3 * running) * np.maximum(0.0, np.cos(angle))
        pose |= {f"{leg}_hip": hip, f"{leg}_knee": knee}
        reach.append(actor.height_m * (build.thigh * np.cos(hip) + build.shin * np.cos(hip - knee) + build.paw))
    pose["z"] = np.max(reach, axis=0)
    pose["lean"] = 0.07 * running * moving * np.sin(turn)
    return pose
