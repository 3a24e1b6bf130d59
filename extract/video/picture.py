"""How a player shows decoded pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

UNKNOWN = 2
"""In ITU-T H.273's tables: the file does not say."""
MOST_STRETCHED = 100
"""A ratio beyond this, or below its inverse, is no ratio that somebody meant."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a file says of its pixels beside their values; as frames are given, after rotation."""

    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a pixel over its height when it is shown."""
    primaries: int = UNKNOWN
    """ITU-T H.273 color primaries."""
    transfer: int = UNKNOWN
    """ITU-T H.273 transfer characteristics."""
    matrix: int = UNKNOWN
    """ITU-T H.273 matrix coefficients."""


PLAIN = Picture()
"""Of a file that says nothing."""


def sane_ratio(ratio: Fraction | None) -> Fraction:
    """A sample aspect ratio as a file gives it, and 1 where it gives none or one that no player would follow."""
    if ratio is None or not Fraction(1, MOST_STRETCHED) <= ratio <= MOST_STRETCHED:
        return Fraction(1)
    return ratio.limit_denominator(1000)
