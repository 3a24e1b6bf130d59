"""MJCF of people: body, clothes, face, hat and bag. Lengths are fractions of the person's height."""

from __future__ import annotations

from pipeline.synth.arrays import Rgb
from pipeline.synth.rendering.mjcf import Pen
from pipeline.synth.rendering.poses import ANKLE, SHIN, SHOULDER, THIGH
from pipeline.synth.scene.script import Actor

DARK: Rgb = (0.04, 0.04, 0.05)
SHOE: Rgb = (0.10, 0.09, 0.09)


def person(pen: Pen, actor: Actor) -> str:
    is_child = actor.category == "child"
    hips_wide = 0.050 if actor.category == "man" else 0.054
    legs = "".join(_leg(pen, actor, side, sign * hips_wide) for side, sign in (("left", 1), ("right", -1)))
    stout = 1.12 if is_child else 1.0
    assert actor.trousers is not None
    shirt, trousers = actor.colour.rgb, actor.trousers.rgb
    wide = {"man": 0.118, "woman": 0.100}.get(actor.category, 0.112)
    arms = "".join(_arm(pen, actor, side, sign, wide) for side, sign in (("left", 1), ("right", -1)))
    torso = pen.part(
        (0, 0, 0),
        pen.hinge("lean", (0, 1, 0)),
        pen.blob((0, 0, 0.09), (0.060 * stout, 0.086 * stout, 0.105), shirt),
        pen.blob((0, 0, 0.19), (0.066 * stout, wide * 0.92, 0.120), shirt),
        pen.limb((0, -wide * 0.86, 0.262), (0, wide * 0.86, 0.262), 0.040, shirt),
        pen.limb((0, 0, 0.28), (0.006, 0, 0.345), 0.030, actor.skin_rgb),
        arms,
        _head(pen, actor),
        _bag(pen, actor, wide),
    )
    return pen.blob((0, 0, 0.015), (0.066 * stout, 0.096 * stout, 0.068), trousers) + legs + torso


def _leg(pen: Pen, actor: Actor, side: str, y: float) -> str:
    thick = 1.15 if actor.category == "child" else 1.0
    assert actor.trousers is not None
    trousers = actor.trousers.rgb
    foot = pen.part(
        (0, 0, -SHIN),
        pen.hinge(f"{side}_ankle", (0, -1, 0)),
        pen.blob((0.032, 0, 0.030 - ANKLE), (0.072, 0.034, 0.030), SHOE),
    )
    shin = pen.part(
        (0, 0, -THIGH),
        pen.hinge(f"{side}_knee", (0, 1, 0)),
        pen.limb((0, 0, 0), (0, 0, -SHIN), 0.035 * thick, trousers),
        foot,
    )
    return pen.part(
        (0, y, 0),
        pen.hinge(f"{side}_hip", (0, -1, 0)),
        pen.limb((0, 0, 0), (0, 0, -THIGH), 0.048 * thick, trousers),
        shin,
    )


def _arm(pen: Pen, actor: Actor, side: str, sign: int, wide: float) -> str:
    thick = 1.15 if actor.category == "child" else 1.0
    forearm = pen.part(
        (0, 0, -0.165),
        pen.hinge(f"{side}_elbow", (0, -1, 0)),
        pen.limb((0, 0, 0), (0, 0, -0.130), 0.023 * thick, actor.skin_rgb),
        pen.blob((0, 0, -0.158), (0.026, 0.018, 0.036), actor.skin_rgb),
    )
    return pen.part(
        (0, sign * (wide + 0.012), SHOULDER),
        pen.hinge(f"{side}_raise", (sign, 0, 0)),
        pen.hinge(f"{side}_shoulder", (0, -1, 0)),
        pen.limb((0, 0, 0), (0, 0, -0.165), 0.032 * thick, actor.colour.rgb),
        forearm,
    )


def _head(pen: Pen, actor: Actor) -> str:
    # A child's head is larger relative to its body.
    size = 1.25 if actor.category == "child" else 1.0
    pen = Pen(scale=pen.scale * size, name=pen.name)
    z = 0.395 / size + (0.02 if size > 1 else 0.0)
    hair = actor.hair.rgb
    parts = [
        pen.blob((0.004, 0, z), (0.062, 0.054, 0.076), actor.skin_rgb),
        pen.blob((-0.014, 0, z + 0.020), (0.062, 0.059, 0.068), hair),
        pen.blob((0.066, 0, z - 0.010), (0.012, 0.009, 0.014), actor.skin_rgb),
        *(pen.blob((0.058, y, z + 0.008), (0.009, 0.009, 0.009), DARK) for y in (-0.022, 0.022)),
    ]
    if actor.category == "woman":
        parts.append(pen.blob((-0.040, 0, z - 0.045), (0.034, 0.058, 0.100), hair))
    if actor.hat is not None:
        hat = actor.hat.rgb
        parts += [
            pen.disc((0, 0, z + 0.040), (0, 0, z + 0.050), 0.105, hat),
            pen.blob((-0.004, 0, z + 0.055), (0.070, 0.066, 0.062), hat),
        ]
    return "".join(parts)


def _bag(pen: Pen, actor: Actor, wide: float) -> str:
    """Write a bag on the back, with straps that are visible from the front."""
    if actor.bag is None:
        return ""
    rgb = actor.bag.rgb
    straps = "".join(
        pen.limb((0.052, sign * wide * 0.55, 0.13), (0.040, sign * wide * 0.60, 0.285), 0.016, rgb) for sign in (1, -1)
    )
    return pen.block((-0.115, 0, 0.165), (0.055, 0.090, 0.115), rgb) + straps
