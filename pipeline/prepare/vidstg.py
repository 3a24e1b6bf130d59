"""Read the annotations of VidSTG: queries from VidSTG's files, boxes from VidOR's.

The end of a record's `used_segment` is inclusive, the end of its `temporal_gt` exclusive. Captions are declarative
queries, questions are interrogative ones. `target_id` is the trajectory of the object that the query refers to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.prepare.files import by_stem, field, frame_of, number_of, read_json, size_of, split_of
from pipeline.prepare.records import Draft, Finding
from pipeline.types import Kind, Span

SENTENCES: tuple[tuple[str, Kind], ...] = (("captions", "declarative"), ("questions", "interrogative"))


def vidstg_drafts(files: Sequence[Path], boxes: Path | None) -> Iterator[Draft | Finding]:
    """Yield a draft for each query, or a finding if the box file of its video is missing or unreadable.

    Args:
        files: annotation files; a name such as train_annotations.json starts with its split.
        boxes: VidOR's folder of annotations, with one JSON file per video; None leaves the boxes out.

    Raises:
        AnnotationError: a file's content is not in this format, its name does not start with a split, or the folder
            `boxes` has no JSON file.
    """
    trajectories = _Trajectories(boxes) if boxes is not None else None
    for path in files:
        split = split_of(path)
        content = read_json(path)
        if not isinstance(content, list):
            raise AnnotationError(f"{path}: holds no list of records; give VidSTG's train_annotations.json or the like")
        for number, record in enumerate(content):
            where = f"{path}: record {number}"
            yield from _sentences(record, f"{split}-{number:05d}", split, trajectories, where)


def _sentences(
    record: Any,  # noqa: ANN401 - JSON
    name: str,
    split: str,
    trajectories: _Trajectories | None,
    where: str,
) -> Iterator[Draft | Finding]:
    video = str(field(record, "vid", str, where))
    used, truth = field(record, "used_segment", dict, where), field(record, "temporal_gt", dict, where)
    segment = (frame_of(used, "begin_fid", where), frame_of(used, "end_fid", where) + 1)
    span = (frame_of(truth, "begin_fid", where), frame_of(truth, "end_fid", where))
    for key, kind in SENTENCES:
        for turn, sentence in enumerate(field(record, key, list, where)):
            id_ = f"{name}-{kind[0]}{turn}"
            tube = None
            if trajectories is not None:
                target = int(field(sentence, "target_id", int, where))
                try:
                    tube = trajectories.boxes(video, target, span)
                except AnnotationError as error:
                    yield Finding(id=id_, video=video, rule="no box file", detail=str(error))
                    continue
            yield Draft(
                id=id_,
                video=video,
                query=str(field(sentence, "description", str, where)),
                kind=kind,
                segment=segment,
                span=span,
                boxes=tube,
                split=split,
                size=size_of(record, where),
                frame_count=frame_of(record, "frame_count", where),
                fps=number_of(record, "fps", where),
            )


class _Trajectories:
    """VidOR's boxes, one file per video.

    VidSTG lists the records of one video one after another, so caching the last 4 files is enough.
    """

    def __init__(self, folder: Path) -> None:
        self._files = by_stem(folder, ".json")
        self._read = lru_cache(maxsize=4)(self._read_file)

    def boxes(self, video: str, target: int, span: Span) -> np.ndarray:
        """Return the target's boxes: float32 (span frame, 4), xyxy, NaN where not visible. Raises AnnotationError."""
        frames = self._read(video)
        rows = np.full((max(0, span[1] - span[0]), 4), np.nan, np.float32)
        for row, frame in enumerate(range(span[0], min(span[1], len(frames)))):
            if frame >= 0 and (box := frames[frame].get(target)) is not None:
                with np.errstate(over="ignore"):  # too large for float32 becomes infinity; a rule drops such boxes
                    rows[row] = box
        return rows

    def _read_file(self, video: str) -> list[dict[int, tuple[float, ...]]]:
        paths = self._files.get(video, [])
        if len(paths) != 1:
            raise AnnotationError(f"{len(paths)} files named {video}.json; one is needed")
        where = str(paths[0])
        frames = field(read_json(paths[0]), "trajectories", list, where)
        return [_frame_boxes(items, f"{where}: frame {number}") for number, items in enumerate(frames)]


def _frame_boxes(items: Any, where: str) -> dict[int, tuple[float, ...]]:  # noqa: ANN401 - JSON
    """Return the xyxy boxes of one frame by trajectory id. Raises AnnotationError."""
    if not isinstance(items, list):
        raise AnnotationError(f"{where}: is no list of boxes; is it a file of this data set?")
    found = {}
    for item in items:
        sides = field(item, "bbox", dict, where)
        found[int(field(item, "tid", int, where))] = tuple(
            number_of(sides, side, where) for side in ("xmin", "ymin", "xmax", "ymax")
        )
    return found
