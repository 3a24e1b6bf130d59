"""The records that pass between the pipeline's parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["declarative", "interrogative"]
Span = tuple[int, int]
"""Half-open [start, end) in source frames."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sentence about one video, with its true tube."""

    id: str
    video: str
    """The video's key in the store."""
    query: str
    kind: Kind
    segment: Span | None
    """Frames of the video that count as the model's video; None is all of it."""
    span: Span
    boxes: np.ndarray
    """float32 (span frame, 4), xyxy in source pixels; NaN where a frame has no box."""
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A span and one box for each of its frames."""

    span: Span
    boxes: np.ndarray
    """float32 (span frame, 4), xyxy in source pixels."""
    score: float
    """Predicted tIoU, in [0, 1]."""
