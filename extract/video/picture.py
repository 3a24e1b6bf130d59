"""Display properties of decoded frames: aspect ratio and color space."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

UNKNOWN = 2
"""Code for "unspecified" in the tables of ITU-T H.273."""
MOST_STRETCHED = 100
"""Largest plausible aspect ratio of a pixel. Larger ratios, and ratios below its inverse, are ignored as errors."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Display properties that a file declares for its pixels, after rotation is applied."""

    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a displayed pixel divided by its height."""
    primaries: int = UNKNOWN
    """ITU-T H.273 color primaries."""
    transfer: int = UNKNOWN
    """ITU-T H.273 transfer characteristics."""
    matrix: int = UNKNOWN
    """ITU-T H.273 matrix coefficients."""


PLAIN = Picture()
"""Properties of a file that declares nothing."""


def sane_ratio(ratio: Fraction | None) -> Fraction:
    """Return a sample aspect ratio in a plausible range; 1 if it is missing or implausible.

    Args:
        ratio: width of a pixel divided by its height, as declared in the file.

    Returns:
        The ratio, with a denominator of at most 1000.
    """
    if ratio is None or not Fraction(1, MOST_STRETCHED) <= ratio <= MOST_STRETCHED:
        return Fraction(1)
    return ratio.limit_denominator(1000)
