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
    size: tuple[int, int] | None = None
    """Width and height of the picture in pixels, where they are known."""
    frame_count: int | None = None
    """Frames of the whole video, where they are known."""
    fps: float | None = None
    """Average rate in frames a second, where it is known."""

    @property
    def labelled(self) -> np.ndarray:
        """Bool (span frame,): where there is a box."""
        return ~np.isnan(self.boxes[:, 0])


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A tube that some model gives for one sample."""

    id: str
    """The sample's."""
    span: Span
    """May be empty: then nothing was found."""
    frames: np.ndarray
    """int64 (box,), ascending: the frames whose boxes were given."""
    boxes: np.ndarray
    """float32 (box, 4), xyxy in source pixels. One without area overlaps nothing."""


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A span and one box for each of its frames."""

    span: Span
    boxes: np.ndarray
    """float32 (span frame, 4), xyxy in source pixels."""
    score: float
    """Predicted tIoU, in [0, 1]; BM's is the probability of its first and last step."""
