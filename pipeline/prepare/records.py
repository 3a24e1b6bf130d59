"""What a data set's own files say of one sentence, before any rule is applied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import Kind, Span


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One record, in our units: half-open frames from 0, boxes as xyxy pixels."""

    id: str
    video: str
    """A key below the videos' folder, or a name without folder and end that is looked for there."""
    query: str
    kind: Kind
    segment: Span | None
    span: Span
    boxes: np.ndarray | None
    """float32 (span frame, 4), NaN where none is given; None where the data set's boxes were not asked for."""
    split: str | None
    size: tuple[int, int] | None
    """Width and height in pixels to which the boxes refer; None is the video's own."""
    frame_count: int | None
    fps: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was seen of a record."""

    id: str
    video: str
    rule: str
    """A key of `pipeline.prepare.rules.RULES`."""
    detail: str
