"""The plain index: one JSON line for each labelled sentence.

    {"video": "clips/7.mp4", "query": "the man in red runs", "span": [30, 75], "boxes": [[12, 8, 90, 200], null, ...]}

`span` is half-open in frames; `boxes` holds one [x1, y1, x2, y2] in source pixels for each frame of the span,
or null where nothing is to be seen. Optional: `id`, `kind` ("declarative" or "interrogative"), `segment`
([start, end) frames), `split`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AnnotationError
from pipeline.types import Kind, Sample

_Frame = Annotated[int, Field(ge=0)]
_Box = tuple[float, float, float, float]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    video: Annotated[str, Field(min_length=1)]
    query: Annotated[str, Field(min_length=1)]
    span: tuple[_Frame, _Frame]
    boxes: list[_Box | None]
    id: str | None = None
    kind: Kind = "declarative"
    segment: tuple[_Frame, _Frame] | None = None
    split: str | None = None


def read_index(path: Path, *, split: str | None = None) -> list[Sample]:
    """All samples of an index, or those of one split where it has splits.

    Raises:
        AnnotationError: there is no index, it holds no sample, or a line cannot be used; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AnnotationError(
            f"{path}: no index of labelled samples; write one JSON line a sample (see README), "
            "or draw labelled videos with: gkcmn-pipe synth"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: cannot be read ({error}); give a file of JSON lines") from error
    samples: dict[str, Sample] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            sample = _parse(line, where=f"{path}:{number}", default_id=str(number))
            if sample.id in samples:
                raise AnnotationError(f"{path}:{number}: id {sample.id!r} stands twice; make ids distinct")
            samples[sample.id] = sample
    chosen = [sample for sample in samples.values() if split is None or sample.split in (None, split)]
    if not chosen:
        what = "samples" if split is None or not samples else f"samples of split {split!r}"
        raise AnnotationError(f"{path}: holds no {what}; add some, one JSON line each")
    return chosen


def samples_digest(samples: Iterable[Sample]) -> str:
    """SHA-256 over all that training takes from samples, in their order."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr((sample.video, sample.query, sample.segment, sample.span)).encode())
        digest.update(sample.boxes.tobytes())
    return digest.hexdigest()


def _parse(line: str, *, where: str, default_id: str) -> Sample:
    try:
        record = _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise AnnotationError(f"{where}: {key or 'the line'}: {first['msg']}; see README for the format") from error
    start, end = record.span
    if end <= start:
        raise AnnotationError(f"{where}: span {list(record.span)} is empty; its end is the frame after the last")
    if len(record.boxes) != end - start:
        raise AnnotationError(
            f"{where}: {len(record.boxes)} boxes for a span of {end - start} frames; "
            "give one a frame, null where nothing is to be seen"
        )
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
    array = np.full((len(boxes), 4), np.nan, np.float32)
    for row, box in zip(array, boxes, strict=True):
        if box is not None:
            if box[2] <= box[0] or box[3] <= box[1]:
                raise AnnotationError(f"{where}: box {list(box)} is empty; boxes are [x1, y1, x2, y2]")
            row[:] = box
    if np.isnan(array).all():
        raise AnnotationError(f"{where}: no frame of the span has a box; leave the sample out")
    return array
