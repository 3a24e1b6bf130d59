"""Read samples from JSON lines, a format that can be written by hand or by a script.

    {"video": "clips/7.mp4", "query": "the man in red runs", "span": [30, 75], "boxes": [[12, 8, 90, 200], null, ...]}

`span` is a half-open range of frames; `boxes` holds one [x1, y1, x2, y2] in source pixels for each frame of the span,
or null where the object is not visible. Optional fields: `id`, `kind` ("declarative" or "interrogative"), `segment`
(half-open range of frames), `split`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.data.json_lines import BoxSides, FrameNumber, json_records
from pipeline.data.sample_rules import count_fault, first_fault
from pipeline.errors import AnnotationError
from pipeline.types import Kind, Sample

_Frame = Annotated[FrameNumber, Field(ge=-(2**53), le=2**53)]
CHECKED_TOGETHER = 256
"""Number of samples that are checked at once, which is faster than one at a time."""
_Text = Annotated[str, Field(strict=True)]


class PlainRecord(BaseModel):
    """One line. The types are checked here, the values by `pipeline.data.sample_rules`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    video: _Text
    query: _Text
    span: tuple[_Frame, _Frame]
    boxes: list[BoxSides | None]
    id: _Text | None = None
    kind: Kind = "declarative"
    segment: tuple[_Frame, _Frame] | None = None
    split: _Text | None = None


def plain_records(path: Path) -> Iterator[tuple[int, PlainRecord]]:
    """Yield each line's number, counted from 1, and its record.

    A record has a box or null for each frame of its span, unless the span is empty or reversed; other rules are not
    checked.

    Raises:
        AnnotationError: the file cannot be read, or a line has the wrong form; the message gives the line.
    """
    for number, record in json_records(path, PlainRecord, AnnotationError):
        is_span = record.span[0] < record.span[1]
        if is_span and (fault := count_fault(len(record.boxes), record.span)) is not None:
            raise AnnotationError(f"{path}:{number}: {fault}")
        yield number, record


def read_plain(path: Path) -> list[Sample]:
    """Read all samples of a JSON lines file. A sample without an id gets its line number as id.

    Raises:
        AnnotationError: the file cannot be read, or a line is invalid; the message gives the first such line.
    """
    lines: list[int] = []
    samples: list[Sample] = []
    seen: set[str] = set()
    checked = 0

    def check() -> None:
        nonlocal checked
        if (found := first_fault(samples[checked:], seen, need_box=True)) is not None:
            row, fault = found
            raise AnnotationError(f"{path}:{lines[checked + row]}: {fault}")
        checked = len(samples)

    try:
        for number, record in plain_records(path):
            lines.append(number)
            samples.append(_sample(record, default_id=str(number)))
            if len(samples) - checked == CHECKED_TOGETHER:
                check()
    except AnnotationError:
        check()  # an earlier line may be invalid too, and the message must give the first one
        raise
    check()
    return samples


def _sample(record: PlainRecord, *, default_id: str) -> Sample:
    return Sample(
        id=default_id if record.id is None else record.id,
        video=record.video,
        query=record.query,
        kind=record.kind,
        segment=record.segment,
        span=record.span,
        boxes=box_rows(record.boxes),
        split=record.split,
    )


def box_rows(boxes: Sequence[BoxSides | None]) -> np.ndarray:
    """Convert boxes to an array.

    Args:
        boxes: one xyxy box per frame, or None for a missing box.

    Returns:
        float32 (frame, 4): NaN for a missing box, infinity for a number too large for float32.
    """
    with np.errstate(over="ignore"):
        return np.array([box or (np.nan,) * 4 for box in boxes], np.float32).reshape(-1, 4)
