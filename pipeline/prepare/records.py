"""Records that the data set readers produce, before the rules are applied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import Kind, Span


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One annotation record, converted to half-open frame ranges counted from 0 and xyxy boxes in pixels."""

    id: str
    video: str
    """Key of the video relative to the folder of videos, or a file stem to search for in that folder."""
    query: str
    kind: Kind
    segment: Span | None
    span: Span
    boxes: np.ndarray | None
    """float32 (span frame, 4), NaN for a missing box; None if the data set's boxes were not requested."""
    split: str | None
    size: tuple[int, int] | None
    """Width and height, in pixels, of the frames that the boxes refer to; None means the video's own size."""
    frame_count: int | None
    fps: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An issue of a record: a rule that rejected it, changed it or applies to it."""

    id: str
    video: str
    rule: str
    """Name of the rule, a key of `pipeline.prepare.rules.RULES`."""
    detail: str
