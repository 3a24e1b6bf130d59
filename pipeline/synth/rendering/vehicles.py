"""MJCF of vehicles. The origin is on the ground; lengths are fractions of the vehicle's height."""

from __future__ import annotations

import math

from pipeline.synth.arrays import Rgb
from pipeline.synth.rendering.mjcf import Pen
from pipeline.synth.rendering.poses import WHEELS
from pipeline.synth.scene.script import Actor

TYRE: Rgb = (0.05, 0.05, 0.05)
METAL: Rgb = (0.62, 0.63, 0.65)
GLASS: Rgb = (0.12, 0.16, 0.20)
LAMP: Rgb = (0.95, 0.92, 0.75)
REAR_LAMP: Rgb = (0.50, 0.04, 0.04)
RIM_PARTS = 10


def car(pen: Pen, actor: Actor) -> str:
    paint = actor.colour.rgb
    radius = WHEELS["car"]
    shapes = [
        pen.block((0, 0, 0.36), (1.24, 0.56, 0.17), paint),
        pen.blob((1.10, 0, 0.37), (0.22, 0.55, 0.17), paint),
        pen.blob((-1.10, 0, 0.38), (0.22, 0.55, 0.17), paint),
        pen.block((-0.12, 0, 0.90), (0.52, 0.47, 0.035), paint),
        # Cabin: slanted windshield and rear window, side windows, painted pillars.
        pen.block((-0.12, 0, 0.70), (0.56, 0.49, 0.19), GLASS),
        pen.block((0.50, 0, 0.705), (0.025, 0.47, 0.25), GLASS, turn_deg=-38),
        pen.block((-0.72, 0, 0.705), (0.025, 0.47, 0.25), GLASS, turn_deg=32),
        *(pen.block((x, y, 0.71), (0.035, 0.02, 0.20), paint) for x in (-0.12, -0.66) for y in (-0.495, 0.495)),
        *(pen.limb((0.42, y, 0.90), (0.68, y, 0.53), 0.03, paint) for y in (-0.47, 0.47)),
        *(pen.limb((-0.64, y, 0.90), (-0.86, y, 0.53), 0.03, paint) for y in (-0.47, 0.47)),
        *(pen.blob((1.27, y, 0.42), (0.05, 0.09, 0.055), LAMP) for y in (-0.38, 0.38)),
        *(pen.blob((-1.28, y, 0.43), (0.04, 0.09, 0.055), REAR_LAMP) for y in (-0.38, 0.38)),
    ]
    for x in (-0.78, 0.80):
        turning = "".join(
            pen.disc((0, y - 0.08, 0), (0, y + 0.08, 0), radius, TYRE)
            + pen.disc((0, y - 0.085, 0), (0, y + 0.085, 0), 0.55 * radius, METAL)
            + pen.block((0, y, 0), (0.5 * radius, 0.09, 0.10 * radius), TYRE)
            for y in (-0.50, 0.50)
        )
        shapes.append(pen.part((x, 0, radius), _spin(pen, x), turning))
    return "".join(shapes)


def bicycle(pen: Pen, actor: Actor) -> str:
    paint = actor.colour.rgb
    radius, x = WHEELS["bicycle"], 0.52
    saddle, crank, head = (-0.20, 0.0, 0.80), (-0.06, 0.0, 0.30), (0.34, 0.0, 0.78)
    rear, front = (-x, 0.0, radius), (x, 0.0, radius)
    tubes = [(crank, saddle), (crank, head), (saddle, head), (rear, crank), (rear, saddle), (front, head)]
    shapes = [
        *(pen.limb(start, end, 0.026, paint) for start, end in tubes),
        pen.limb(head, (0.31, 0, 0.92), 0.022, METAL),
        pen.limb((0.31, -0.24, 0.93), (0.31, 0.24, 0.93), 0.022, TYRE),
        pen.blob((-0.22, 0, 0.86), (0.14, 0.07, 0.035), TYRE),
        pen.disc((-0.06, -0.03, 0.30), (-0.06, 0.03, 0.30), 0.075, METAL),
    ]
    wheels = (pen.part((at, 0, radius), _spin(pen, at), _rim(pen, radius)) for at in (-x, x))
    return "".join([*shapes, *wheels])


def _rim(pen: Pen, radius: float) -> str:
    corners = [
        (radius * 0.94 * math.cos(angle), 0.0, radius * 0.94 * math.sin(angle))
        for angle in (2 * math.pi * number / RIM_PARTS for number in range(RIM_PARTS))
    ]
    tyre = "".join(
        pen.limb(start, end, 0.024, TYRE) for start, end in zip(corners, corners[1:] + corners[:1], strict=True)
    )
    spokes = "".join(pen.limb(corners[k], corners[k + RIM_PARTS // 2], 0.008, METAL) for k in (0, 2))
    return tyre + spokes


def _spin(pen: Pen, x: float) -> str:
    """Write the hinge of the front or the rear wheels."""
    return pen.hinge("spin" if x > 0 else "rear_spin", (0, 1, 0))
