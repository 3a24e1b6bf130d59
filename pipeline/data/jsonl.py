"""Samples as JSON lines, the format to write by hand or by script.

    {"video": "clips/7.mp4", "query": "the man in red runs", "span": [30, 75], "boxes": [[12, 8, 90, 200], null, ...]}

`span` is half-open in frames; `boxes` holds one [x1, y1, x2, y2] in source pixels for each frame of the span,
or null where nothing is to be seen. Optional: `id`, `kind` ("declarative" or "interrogative"), `segment`
([start, end) frames), `split`.
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
"""Samples that are checked in one go, which is quicker than one by one."""
_Text = Annotated[str, Field(strict=True)]


class PlainRecord(BaseModel):
    """One line, of the right form; `pipeline.data.sample_rules` says whether it can be used."""

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
    """Each line's number and record, with a box or null for each frame of its span, if that is one.

    Raises:
        AnnotationError: the file cannot be read, or a line has another form; the message names the line.
    """
    for number, record in json_records(path, PlainRecord, AnnotationError):
        is_span = record.span[0] < record.span[1]
        if is_span and (fault := count_fault(len(record.boxes), record.span)) is not None:
            raise AnnotationError(f"{path}:{number}: {fault}")
        yield number, record


def read_plain(path: Path) -> list[Sample]:
    """All samples of a file of JSON lines.

    Raises:
        AnnotationError: a line cannot be used; the message names the first.
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
        check()  # an earlier line may have a fault too, and the first one is named
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
    """Boxes as float32 (frame, 4), NaN where there is none and infinity where a number is too large."""
    with np.errstate(over="ignore"):
        return np.array([box or (np.nan,) * 4 for box in boxes], np.float32).reshape(-1, 4)
