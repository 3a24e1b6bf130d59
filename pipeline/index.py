"""The index: typed samples in one file. Parquet, as `prepare` writes it; JSON lines are read too.

Columns: id, video, query, kind, segment_start, segment_end, span_start, span_end, boxes, split, width, height,
frame_count, fps. `boxes` holds one list of 4 for each frame of the span, xyxy in source pixels, null where
nothing is to be seen. Spans and segments are half-open in source frames. What is not known is null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extract.files import is_there, replacing
from pipeline.errors import AnnotationError
from pipeline.plain import read_plain
from pipeline.types import Sample, Span

VERSION = "1"
_VERSION_KEY = b"gkcmn_index_version"
ROWS = 1024
"""Samples that are written and read together: few enough to hold twice."""
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("video", pa.string()),
        ("query", pa.string()),
        ("kind", pa.string()),
        ("segment_start", pa.int32()),
        ("segment_end", pa.int32()),
        ("span_start", pa.int32()),
        ("span_end", pa.int32()),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("split", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frame_count", pa.int32()),
        ("fps", pa.float64()),
    ],
    metadata={_VERSION_KEY: VERSION},
)


def read_index(path: Path, *, split: str | None = None) -> list[Sample]:
    """All samples of an index, or those of one split.

    Raises:
        AnnotationError: there is no index, it holds no sample, or a record cannot be used.
    """
    if not is_there(path):
        raise AnnotationError(
            f"{path}: no index of labelled samples; make one with gkcmn-pipe prepare, "
            "or draw labelled videos with gkcmn-pipe synth"
        )
    return of_split(_read_parquet(path) if path.suffix == ".parquet" else read_plain(path), split, path)


def of_split(samples: Sequence[Sample], split: str | None, path: Path) -> list[Sample]:
    """Samples of one split, of which "train" has those too whose split is not given; all if `split` is None.

    Raises AnnotationError if there is none.
    """
    chosen = [sample for sample in samples if split in (None, sample.split or "train")]
    if not chosen:
        what = "samples" if split is None or not samples else f"samples of split {split!r}"
        raise AnnotationError(f"{path}: holds no {what}; see gkcmn-pipe prepare --help")
    return chosen


def train_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Samples that are named as training's own; may be none."""
    return [sample for sample in samples if sample.split == "train"]


def write_index(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples as Parquet. Raises OutputError."""
    segments = [sample.segment or (None, None) for sample in samples]
    sizes = [sample.size or (None, None) for sample in samples]
    columns = [
        [sample.id for sample in samples],
        [sample.video for sample in samples],
        [sample.query for sample in samples],
        [sample.kind for sample in samples],
        [start for start, _ in segments],
        [end for _, end in segments],
        [sample.span[0] for sample in samples],
        [sample.span[1] for sample in samples],
        _boxes_column([sample.boxes for sample in samples]),
        [sample.split for sample in samples],
        [width for width, _ in sizes],
        [height for _, height in sizes],
        [sample.frame_count for sample in samples],
        [sample.fps for sample in samples],
    ]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    # As an open file: pyarrow takes a name with a colon for a URL, and none that is not UTF-8.
    with replacing(path) as partial, partial.open("wb") as file:
        pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), file, compression="zstd", row_group_size=ROWS)


def samples_digest(samples: Iterable[Sample]) -> str:
    """SHA-256 over all that training and scoring take from samples, in their order."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr((sample.video, sample.query, sample.segment, sample.span)).encode())
        digest.update(sample.boxes.tobytes())
    return digest.hexdigest()


def _boxes_column(boxes: Sequence[np.ndarray]) -> pa.Array:
    rows = np.concatenate(boxes) if boxes else np.empty((0, 4), np.float32)
    missing = np.isnan(rows).any(axis=1)
    offsets = np.cumsum([0, *(len(part) for part in boxes)], dtype=np.int32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float32()), 4, mask=pa.array(missing))
    return pa.ListArray.from_arrays(pa.array(offsets), lists)


def _read_parquet(path: Path) -> list[Sample]:
    try:
        with path.open("rb") as raw:
            file = pq.ParquetFile(raw)
            version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY)
            if version != VERSION.encode() or not file.schema_arrow.equals(_SCHEMA):
                raise AnnotationError(f"{path}: not an index of this version; prepare it again with gkcmn-pipe prepare")
            return [sample for batch in file.iter_batches(ROWS) for sample in _samples(batch)]
    except (OSError, pa.ArrowException) as error:
        raise AnnotationError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); prepare it again") from error


def _samples(batch: pa.RecordBatch) -> Iterator[Sample]:
    column = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "boxes"}
    lists = batch.column("boxes")
    frames = lists.values
    # A null frame's own four values are there all the same, and mean nothing.
    boxes = frames.values.to_numpy(zero_copy_only=False).reshape(-1, 4).copy()
    boxes[frames.is_null().to_numpy(zero_copy_only=False)] = np.nan
    for row, (start, end) in enumerate(pairwise(lists.offsets.to_numpy())):
        yield Sample(
            id=column["id"][row],
            video=column["video"][row],
            query=column["query"][row],
            kind=column["kind"][row],
            segment=_pair(column["segment_start"][row], column["segment_end"][row]),
            span=(column["span_start"][row], column["span_end"][row]),
            boxes=boxes[start:end],
            split=column["split"][row],
            size=_pair(column["width"][row], column["height"][row]),
            frame_count=column["frame_count"][row],
            fps=column["fps"][row],
        )


def _pair(first: int | None, second: int | None) -> Span | None:
    return None if first is None or second is None else (first, second)
