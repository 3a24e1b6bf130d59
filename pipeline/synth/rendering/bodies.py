"""MJCF of actors: bodies of simple shapes, with the joints that `poses` and `animals` move.

An actor faces its own +x, its left is +y, up is +z. Lengths are fractions of its height.
"""

from __future__ import annotations

from pipeline.synth.arrays import Rgb
from pipeline.synth.rendering.animals import BUILDS, LEGS, Build
from pipeline.synth.rendering.mjcf import Pen, text
from pipeline.synth.rendering.people import person
from pipeline.synth.rendering.vehicles import bicycle, car
from pipeline.synth.scene.script import ANIMALS, VEHICLES, Actor

WHITE: Rgb = (0.93, 0.93, 0.92)
DARK: Rgb = (0.04, 0.04, 0.05)


def figure(actor: Actor, name: str) -> str:
    """Write the MJCF body of an actor. Its joints are named `<name>/<joint>`."""
    pen = Pen(scale=actor.height_m, name=name)
    axes: list[tuple[str, tuple[int, int, int]]] = [("x", (1, 0, 0)), ("y", (0, 1, 0))]
    if actor.category in VEHICLES:
        inside = car(pen, actor) if actor.category == "car" else bicycle(pen, actor)
    else:
        # The origin of actors without wheels is above the ground and moves vertically.
        axes.append(("z", (0, 0, 1)))
        if actor.category == "ball":
            inside = _ball(pen, actor)
        elif actor.category in ANIMALS:
            inside = _beast(pen, actor, BUILDS[actor.category])
        else:
            inside = person(pen, actor)
    slides = "".join(f'<joint name="{name}/{axis}" type="slide" axis="{text(unit)}"/>' for axis, unit in axes)
    return f'<body name="{name}">{slides}{pen.hinge("yaw", (0, 0, 1))}{inside}</body>'


def _beast(pen: Pen, actor: Actor, build: Build) -> str:
    coat = actor.colour.rgb
    dim: Rgb = (coat[0] * 0.6, coat[1] * 0.6, coat[2] * 0.6)
    is_horse = actor.category == "horse"
    hoof = DARK if is_horse else coat
    thick, thin = build.leg_radii
    legs = "".join(
        pen.part(
            (build.fore_x if leg.startswith("front") else build.hind_x, build.apart * side, 0),
            pen.hinge(f"{leg}_hip", (0, -1, 0)),
            pen.limb((0, 0, 0.05), (0, 0, -build.thigh), thick, coat),
            pen.part(
                (0, 0, -build.thigh),
                pen.hinge(f"{leg}_knee", (0, 1, 0)),
                pen.limb((0, 0, 0), (0, 0, -build.shin), thin, coat),
                pen.blob((0.02, 0, -build.shin), (1.6 * thin, 1.15 * thin, build.paw), hoof),
            ),
        )
        for leg, side in ((leg, 1 if leg.endswith("left") else -1) for leg, _ in LEGS)
    )
    radius, (x1, z1, x2, z2) = build.trunk_radius, build.neck
    trunk = (
        pen.limb((build.hind_x + 0.02, 0, 0.08), (build.fore_x - 0.06, 0, 0.09), radius, coat)
        + pen.blob((build.fore_x - 0.06, 0, 0.07), (0.19, 1.08 * radius, 1.22 * radius), coat)
        + pen.limb((x1, 0, z1), (x2, 0, z2), build.neck_radius, coat)
    )
    return pen.hinge("lean", (0, 1, 0)) + trunk + _beast_head(pen, actor, build, dim) + _tail(pen, actor, build) + legs


def _beast_head(pen: Pen, actor: Actor, build: Build, dim: Rgb) -> str:
    coat, size = actor.colour.rgb, build.head_radius
    x, z = build.neck[2] + 0.03, build.neck[3] + 0.04
    length, radius = build.muzzle
    # A horse's muzzle points down; those of dogs and cats point forward.
    drop = 0.9 * length if actor.category == "horse" else 0.15 * length
    nose = (x + size + 0.55 * length, 0.0, z - 0.03 - drop)
    parts = [
        pen.blob((x, 0, z), (1.12 * size, size, size), coat),
        pen.limb((x + 0.4 * size, 0, z - 0.02), nose, radius, coat),
        pen.blob((nose[0] + 0.9 * radius, 0, nose[2] + 0.2 * radius), (0.025, 0.03, 0.025), DARK),
        *(pen.blob((x + 0.86 * size, y * size, z + 0.32 * size), (0.02, 0.02, 0.02), DARK) for y in (-0.5, 0.5)),
    ]
    if actor.category == "dog":
        parts += [pen.blob((x - 0.07, y, z + 0.04), (0.05, 0.028, 0.105), dim) for y in (-0.105, 0.105)]
    else:
        ear = 0.095 if actor.category == "cat" else 0.05
        parts += [
            pen.blob((x - 0.02, y * size, z + size + 0.3 * ear), (0.4 * ear, 0.5 * ear, ear), dim) for y in (-0.6, 0.6)
        ]
    if actor.category == "horse":
        x1, z1, x2, z2 = build.neck
        parts.append(pen.limb((x1 - 0.055, 0, z1 + 0.06), (x2 - 0.055, 0, z2 + 0.05), 0.035, _mane(coat)))
    return "".join(parts)


def _tail(pen: Pen, actor: Actor, build: Build) -> str:
    root = (build.hind_x - build.trunk_radius * 0.75, 0, 0.13)
    end, radius, rgb = {
        "dog": ((-0.26, 0, 0.20), 0.035, actor.colour.rgb),
        "cat": ((-0.14, 0, 0.50), 0.032, actor.colour.rgb),
        "horse": ((-0.10, 0, -0.30), 0.035, _mane(actor.colour.rgb)),
    }[actor.category]
    return pen.part(root, pen.hinge("tail", (0, 0, 1)), pen.limb((0, 0, 0), end, radius, rgb))


def _mane(coat: Rgb) -> Rgb:
    """Return a dark color for a light horse and a light color for a dark one."""
    return (0.10, 0.08, 0.07) if sum(coat) > 0.5 else (0.35, 0.30, 0.26)


def _ball(pen: Pen, actor: Actor) -> str:
    # Two crossing bands make rolling visible; they are flat discs slightly larger than the ball.
    band = DARK if actor.colour.name == "white" else WHITE
    return (
        pen.hinge("spin", (0, 1, 0))
        + pen.blob((0, 0, 0), (0.49, 0.49, 0.49), actor.colour.rgb)
        + pen.blob((0, 0, 0), (0.20, 0.515, 0.515), band)
        + pen.blob((0, 0, 0), (0.515, 0.515, 0.20), band)
    )
