"""MJCF of figures: bodies of capsules and ellipsoids, with the joints that `gait` moves.

A figure faces its own +x, its left is +y, up is +z. Lengths within a figure are fractions of its height.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.synth.arrays import Rgb
from pipeline.synth.gait import ANKLE, DOG_PAW, DOG_SHIN, DOG_THIGH, SHIN, THIGH
from pipeline.synth.script import Actor

Numbers = Sequence[float]

WHITE: Rgb = (0.93, 0.93, 0.92)
DARK: Rgb = (0.04, 0.04, 0.05)
SHOE: Rgb = (0.10, 0.09, 0.09)


def text(numbers: Numbers) -> str:
    """Numbers as an MJCF attribute."""
    return " ".join(f"{number:.5f}" for number in numbers)


def figure(actor: Actor, name: str) -> str:
    """The body `name`; its joints are `<name>/<joint>`."""
    draw = _Draw(scale=actor.height_m, name=name)
    if actor.category == "ball":
        inside = _ball(draw, actor)
    elif actor.category == "dog":
        inside = _dog(draw, actor)
    else:
        inside = _person(draw, actor)
    slides = "".join(
        f'<joint name="{name}/{axis}" type="slide" axis="{text(unit)}"/>'
        for axis, unit in (("x", (1, 0, 0)), ("y", (0, 1, 0)), ("z", (0, 0, 1)))
    )
    return f'<body name="{name}">{slides}{draw.hinge("yaw", (0, 0, 1))}{inside}</body>'


class _Draw:
    """Writes the parts of one figure, scaled to its height in metres."""

    def __init__(self, *, scale: float, name: str) -> None:
        self.scale = scale
        self.name = name

    def hinge(self, joint: str, axis: Numbers) -> str:
        return f'<joint name="{self.name}/{joint}" axis="{text(axis)}"/>'

    def blob(self, at: Numbers, radii: Numbers, rgb: Rgb) -> str:
        return f'<geom type="ellipsoid" pos="{self._m(at)}" size="{self._m(radii)}" rgba="{text(rgb)} 1"/>'

    def limb(self, start: Numbers, end: Numbers, radius: float, rgb: Rgb) -> str:
        ends = self._m((*start, *end))
        return f'<geom type="capsule" fromto="{ends}" size="{self._m([radius])}" rgba="{text(rgb)} 1"/>'

    def part(self, at: Numbers, *inside: str) -> str:
        return f'<body pos="{self._m(at)}">{"".join(inside)}</body>'

    def _m(self, lengths: Numbers) -> str:
        return text([self.scale * length for length in lengths])


def _person(draw: _Draw, actor: Actor) -> str:
    is_child = actor.category == "child"
    hips_wide = 0.050 if actor.category == "man" else 0.054
    legs = "".join(_leg(draw, actor, side, sign * hips_wide) for side, sign in (("left", 1), ("right", -1)))
    stout = 1.12 if is_child else 1.0
    shirt, trousers = actor.colour_rgb, actor.trousers_rgb
    wide = {"man": 0.118, "woman": 0.100, "child": 0.112}[actor.category]
    arms = "".join(_arm(draw, actor, side, sign, wide) for side, sign in (("left", 1), ("right", -1)))
    torso = draw.part(
        (0, 0, 0),
        draw.hinge("lean", (0, 1, 0)),
        draw.blob((0, 0, 0.09), (0.060 * stout, 0.086 * stout, 0.105), shirt),
        draw.blob((0, 0, 0.19), (0.066 * stout, wide * 0.92, 0.120), shirt),
        draw.limb((0, -wide * 0.86, 0.262), (0, wide * 0.86, 0.262), 0.040, shirt),
        draw.limb((0, 0, 0.28), (0.006, 0, 0.345), 0.030, actor.skin_rgb),
        arms,
        _head(draw, actor),
    )
    return draw.blob((0, 0, 0.015), (0.066 * stout, 0.096 * stout, 0.068), trousers) + legs + torso


def _leg(draw: _Draw, actor: Actor, side: str, y: float) -> str:
    thick = 1.15 if actor.category == "child" else 1.0
    foot = draw.part(
        (0, 0, -SHIN),
        draw.hinge(f"{side}_ankle", (0, -1, 0)),
        draw.blob((0.032, 0, 0.030 - ANKLE), (0.072, 0.034, 0.030), SHOE),
    )
    shin = draw.part(
        (0, 0, -THIGH),
        draw.hinge(f"{side}_knee", (0, 1, 0)),
        draw.limb((0, 0, 0), (0, 0, -SHIN), 0.035 * thick, actor.trousers_rgb),
        foot,
    )
    return draw.part(
        (0, y, 0),
        draw.hinge(f"{side}_hip", (0, -1, 0)),
        draw.limb((0, 0, 0), (0, 0, -THIGH), 0.048 * thick, actor.trousers_rgb),
        shin,
    )


def _arm(draw: _Draw, actor: Actor, side: str, sign: int, wide: float) -> str:
    thick = 1.15 if actor.category == "child" else 1.0
    forearm = draw.part(
        (0, 0, -0.165),
        draw.hinge(f"{side}_elbow", (0, -1, 0)),
        draw.limb((0, 0, 0), (0, 0, -0.130), 0.023 * thick, actor.skin_rgb),
        draw.blob((0, 0, -0.158), (0.026, 0.018, 0.036), actor.skin_rgb),
    )
    return draw.part(
        (0, sign * (wide + 0.012), 0.265),
        draw.hinge(f"{side}_raise", (sign, 0, 0)),
        draw.hinge(f"{side}_shoulder", (0, -1, 0)),
        draw.limb((0, 0, 0), (0, 0, -0.165), 0.032 * thick, actor.colour_rgb),
        forearm,
    )


def _head(draw: _Draw, actor: Actor) -> str:
    # A child's head is large for its body.
    size = 1.25 if actor.category == "child" else 1.0
    draw = _Draw(scale=draw.scale * size, name=draw.name)
    z = 0.395 / size + (0.02 if size > 1 else 0.0)
    parts = [
        draw.blob((0.004, 0, z), (0.062, 0.054, 0.076), actor.skin_rgb),
        draw.blob((-0.014, 0, z + 0.020), (0.062, 0.059, 0.068), actor.hair_rgb),
        draw.blob((0.066, 0, z - 0.010), (0.012, 0.009, 0.014), actor.skin_rgb),
        *(draw.blob((0.058, y, z + 0.008), (0.009, 0.009, 0.009), DARK) for y in (-0.022, 0.022)),
    ]
    if actor.category == "woman":
        parts.append(draw.blob((-0.040, 0, z - 0.045), (0.034, 0.058, 0.100), actor.hair_rgb))
    return "".join(parts)


def _dog(draw: _Draw, actor: Actor) -> str:
    coat = actor.colour_rgb
    ear: Rgb = (coat[0] * 0.6, coat[1] * 0.6, coat[2] * 0.6)
    legs = "".join(
        draw.part(
            (x, y, 0),
            draw.hinge(f"{leg}_hip", (0, -1, 0)),
            draw.limb((0, 0, 0.05), (0, 0, -DOG_THIGH), 0.062, coat),
            draw.part(
                (0, 0, -DOG_THIGH),
                draw.hinge(f"{leg}_knee", (0, 1, 0)),
                draw.limb((0, 0, 0), (0, 0, -DOG_SHIN), 0.042, coat),
                draw.blob((0.02, 0, -DOG_SHIN), (0.075, 0.05, DOG_PAW), coat),
            ),
        )
        for leg, x, y in (
            ("front_left", 0.32, 0.10),
            ("front_right", 0.32, -0.10),
            ("hind_left", -0.38, 0.10),
            ("hind_right", -0.38, -0.10),
        )
    )
    trunk = (
        draw.limb((-0.36, 0, 0.08), (0.26, 0, 0.09), 0.150, coat)
        + draw.blob((0.26, 0, 0.07), (0.22, 0.165, 0.190), coat)
        + draw.limb((0.36, 0, 0.16), (0.53, 0, 0.36), 0.090, coat)
        + draw.blob((0.58, 0, 0.41), (0.135, 0.115, 0.115), coat)
        + draw.limb((0.66, 0, 0.37), (0.78, 0, 0.35), 0.058, coat)
        + draw.blob((0.845, 0, 0.365), (0.025, 0.03, 0.025), DARK)
        + "".join(draw.blob((0.53, y, 0.45), (0.05, 0.028, 0.105), ear) for y in (-0.105, 0.105))
        + "".join(draw.blob((0.695, y, 0.44), (0.02, 0.02, 0.02), DARK) for y in (-0.055, 0.055))
    )
    tail = draw.part(
        (-0.48, 0, 0.14), draw.hinge("tail", (0, 0, 1)), draw.limb((0, 0, 0), (-0.26, 0, 0.20), 0.035, coat)
    )
    return draw.hinge("lean", (0, 1, 0)) + trunk + tail + legs


def _ball(draw: _Draw, actor: Actor) -> str:
    # Two bands cross, so that one sees the ball roll: flat discs that stick out of it a little.
    band = DARK if actor.colour == "white" else WHITE
    return (
        draw.hinge("spin", (0, 1, 0))
        + draw.blob((0, 0, 0), (0.49, 0.49, 0.49), actor.colour_rgb)
        + draw.blob((0, 0, 0), (0.20, 0.515, 0.515), band)
        + draw.blob((0, 0, 0), (0.515, 0.515, 0.20), band)
    )
