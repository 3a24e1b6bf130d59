"""Write MJCF: shapes and joints of one actor, scaled to its height."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.synth.arrays import Rgb

Numbers = Sequence[float]


def text(numbers: Numbers) -> str:
    """Format numbers as the value of an MJCF attribute."""
    return " ".join(f"{number:.5f}" for number in numbers)


class Pen:
    """Writes the parts of one actor. Lengths are fractions of `scale`, which is in meters."""

    def __init__(self, *, scale: float, name: str) -> None:
        self.scale = scale
        self.name = name

    def hinge(self, joint: str, axis: Numbers) -> str:
        return f'<joint name="{self.name}/{joint}" axis="{text(axis)}"/>'

    def blob(self, at: Numbers, radii: Numbers, rgb: Rgb) -> str:
        return f'<geom type="ellipsoid" pos="{self._m(at)}" size="{self._m(radii)}" rgba="{text(rgb)} 1"/>'

    def limb(self, start: Numbers, end: Numbers, radius: float, rgb: Rgb) -> str:
        return self._between("capsule", start, end, radius, rgb)

    def disc(self, start: Numbers, end: Numbers, radius: float, rgb: Rgb) -> str:
        return self._between("cylinder", start, end, radius, rgb)

    def block(self, at: Numbers, halves: Numbers, rgb: Rgb, *, turn_deg: float = 0.0) -> str:
        """Write a box, rotated about its y axis."""
        return (
            f'<geom type="box" pos="{self._m(at)}" size="{self._m(halves)}" euler="0 {turn_deg:.3f} 0" '
            f'rgba="{text(rgb)} 1"/>'
        )

    def part(self, at: Numbers, *inside: str) -> str:
        return f'<body pos="{self._m(at)}">{"".join(inside)}</body>'

    def _between(self, shape: str, start: Numbers, end: Numbers, radius: float, rgb: Rgb) -> str:
        ends = self._m((*start, *end))
        return f'<geom type="{shape}" fromto="{ends}" size="{self._m([radius])}" rgba="{text(rgb)} 1"/>'

    def _m(self, lengths: Numbers) -> str:
        return text([self.scale * length for length in lengths])
