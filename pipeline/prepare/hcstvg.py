"""Read the annotations of HC-STVG, versions 1 and 2: one JSON object with a record for each video file name.

`bbox` holds [x, y, width, height] for each frame of the span. `st_frame` is the number of the first of these frames,
counted from 1. The query is `caption` in version 1 and `English` in version 2. The frame size is `width` and `height`,
or `img_size` as [height, width]. All queries are declarative, and the segment is the whole video.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.prepare.files import as_float, check_size, field, frame_of, read_json, size_of, split_of
from pipeline.prepare.records import Draft, Finding


def hcstvg_drafts(files: Sequence[Path]) -> Iterator[Draft | Finding]:
    """Yield a draft for each query, and a finding for each repeated video name.

    Args:
        files: annotation files; a name such as train.json or val_v2.json starts with its split.

    Raises:
        AnnotationError: a file's content is not in this format, or its name does not start with a split.
    """
    for path in files:
        split = split_of(path)
        repeated: list[str] = []
        content = read_json(path, repeated.append)
        if not isinstance(content, dict):
            raise AnnotationError(f"{path}: holds no object by file name; give HC-STVG's train.json or the like")
        for video in repeated:
            if video in content:
                yield Finding(
                    id=f"{split}-{Path(video).stem}", video=Path(video).stem, rule="duplicate id",
                    detail="the file has this name twice, and the last counts",
                )  # fmt: skip
        for video, record in content.items():
            where = f"{path}: {video!r}"
            boxes = _boxes(field(record, "bbox", list, where), where)
            start = frame_of(record, "st_frame", where) - 1
            yield Draft(
                id=f"{split}-{Path(video).stem}",
                video=Path(video).stem,
                query=_sentence(record, where),
                kind="declarative",
                segment=None,
                span=(start, start + len(boxes)),
                boxes=boxes,
                split=split,
                size=_size(record, where),
                frame_count=frame_of(record, "img_num", where),
                fps=None,
            )


def _boxes(boxes: Sequence[Any], where: str) -> np.ndarray:
    """Convert [x, y, width, height] to float32 (frame, 4) xyxy; NaN for a null box."""
    rows = np.full((len(boxes), 4), np.nan, np.float32)
    for row, box in zip(rows, boxes, strict=True):
        if box is None:
            continue
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
            raise AnnotationError(f"{where}: bbox holds {reprlib.repr(box)}; boxes are [x, y, width, height]")
        x, y, width, height = (as_float(side) for side in box)
        with np.errstate(over="ignore"):  # too large for float32 becomes infinity; a rule drops such boxes
            row[:] = (x, y, x + width, y + height)
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sentence(record: dict[str, Any], where: str) -> str:
    return str(field(record, "English" if "English" in record else "caption", str, where))


def _size(record: dict[str, Any], where: str) -> tuple[int, int] | None:
    if "img_size" in record:
        sides = field(record, "img_size", list, where)
        if len(sides) < 2 or not all(isinstance(side, int) and _is_number(side) and side > 0 for side in sides[:2]):
            raise AnnotationError(f"{where}: img_size is {reprlib.repr(sides)}; it is [height, width]")
        return check_size(sides[1], sides[0], where)
    if "width" in record and "height" in record:
        return size_of(record, where)
    return None
