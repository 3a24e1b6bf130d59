"""Data classes shared by the parts of the pipeline: samples, predictions and tubes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["declarative", "interrogative"]
Span = tuple[int, int]
"""Half-open frame range [start, end) of a video."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One query about one video, with its true tube."""

    id: str
    video: str
    """Key of the video in the feature store."""
    query: str
    kind: Kind
    segment: Span | None
    """Frames that the model treats as the whole video; None for all frames."""
    span: Span
    boxes: np.ndarray
    """float32 (span frame, 4), xyxy in source pixels; NaN for a frame without a box."""
    split: str | None
    size: tuple[int, int] | None = None
    """Width and height of the frames in pixels; None if unknown."""
    frame_count: int | None = None
    """Number of frames of the whole video; None if unknown."""
    fps: float | None = None
    """Average frame rate in frames per second; None if unknown."""

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the frames that have a box, bool (span frame,)."""
        return ~np.isnan(self.boxes[:, 0])


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A tube predicted for one sample, by this or another model."""

    id: str
    """Id of the sample."""
    span: Span
    """Predicted span; empty if the model found nothing."""
    frames: np.ndarray
    """Frame number of each box, int64 (box,), ascending."""
    boxes: np.ndarray
    """float32 (box, 4), xyxy in source pixels. A box without area overlaps nothing."""


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A span and one box for each of its frames."""

    span: Span
    boxes: np.ndarray
    """float32 (span frame, 4), xyxy in source pixels."""
    score: float
    """Score in [0, 1]: the predicted tIoU, or for BM the probability of the first and last time step."""
