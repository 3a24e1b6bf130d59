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
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AnnotationError
from pipeline.types import Kind, Sample

_Frame = Annotated[int, Field(ge=0)]
_Box = tuple[float, float, float, float]


class PlainRecord(BaseModel):
    """One line, of the right form; whether it makes sense is another matter."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    video: Annotated[str, Field(min_length=1)]
    query: Annotated[str, Field(min_length=1)]
    span: tuple[_Frame, _Frame]
    boxes: list[_Box | None]
    id: str | None = None
    kind: Kind = "declarative"
    segment: tuple[_Frame, _Frame] | None = None
    split: str | None = None


def plain_records(path: Path) -> Iterator[tuple[int, PlainRecord]]:
    """Each line's number and record, with a box or null for each frame of its span, if that is one.

    Raises AnnotationError, naming the line, where one has another form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error}); give a file of JSON lines") from error
    for number, line in enumerate(text.split("\n"), start=1):  # JSON's strings may hold other ends of lines
        if line.strip():
            try:
                record = PlainRecord.model_validate_json(line)
            except ValidationError as error:
                raise AnnotationError(f"{path}:{number}: {first_fault(error)}; see README for the format") from error
            start, end = record.span
            if start < end and len(record.boxes) != end - start:
                raise AnnotationError(
                    f"{path}:{number}: {len(record.boxes)} boxes for a span of {end - start} frames; "
                    "give one a frame, null where nothing is to be seen"
                )
            yield number, record


def first_fault(error: ValidationError) -> str:
    """Where a line has another form than it should, and how."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key or 'the line'}: {first['msg']}"


def read_plain(path: Path) -> list[Sample]:
    """All samples of a file of JSON lines. Raises AnnotationError at the first that cannot be used."""
    samples: dict[str, Sample] = {}
    for number, record in plain_records(path):
        where = f"{path}:{number}"
        sample = _sample(record, where=where, default_id=str(number))
        if sample.id in samples:
            raise AnnotationError(f"{where}: id {sample.id!r} stands twice; make ids distinct")
        samples[sample.id] = sample
    return list(samples.values())


def _sample(record: PlainRecord, *, where: str, default_id: str) -> Sample:
    start, end = record.span
    if end <= start:
        raise AnnotationError(f"{where}: span {list(record.span)} is empty; its end is the frame after the last")
    if record.segment is not None and not record.segment[0] <= start < end <= record.segment[1] + 1:
        raise AnnotationError(
            f"{where}: the span {[start, end]} exceeds the segment {list(record.segment)}; mend either "
            "(one frame at its end is allowed)"
        )
    return Sample(
        id=record.id or default_id,
        video=record.video,
        query=record.query,
        kind=record.kind,
        segment=record.segment,
        span=record.span,
        boxes=_box_array(record.boxes, where),
        split=record.split,
    )


def _box_array(boxes: Sequence[_Box | None], where: str) -> np.ndarray:
    array = box_rows(boxes)
    for box in boxes:
        if box is not None and (box[2] <= box[0] or box[3] <= box[1]):
            raise AnnotationError(f"{where}: box {list(box)} is empty; boxes are [x1, y1, x2, y2]")
    if np.isnan(array).all():
        raise AnnotationError(f"{where}: no frame of the span has a box; leave the sample out")
    return array


def box_rows(boxes: Sequence[_Box | None]) -> np.ndarray:
    """Boxes as float32 (frame, 4), NaN where there is none."""
    return np.array([box or (np.nan,) * 4 for box in boxes], np.float32).reshape(-1, 4)
