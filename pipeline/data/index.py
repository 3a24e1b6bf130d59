"""Read and write the index, a file of samples.

`prepare` writes an index as Parquet; JSON lines can be read too.

Columns: id, video, query, kind, segment_start, segment_end, span_start, span_end, boxes, split, width, height,
frame_count, fps. `boxes` holds one list of 4 numbers for each frame of the span, xyxy in source pixels, or null where
the object is not visible. Spans and segments are half-open ranges of source frames. Unknown values are null.
Pages have checksums, and the schema's metadata contains a digest of all samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extract.errors import first_line
from extract.io.files import is_there, replacing
from extract.io.open_input import open_input
from pipeline.data.jsonl import read_plain
from pipeline.data.sample_rules import Fault, box_fault, first_fault
from pipeline.errors import AnnotationError
from pipeline.types import Sample, Span

VERSION = "1"
VERSION_KEY = b"gkcmn_index_version"
_DIGEST_KEY = b"gkcmn_index_sha256"
ROWS = 1024
"""Number of samples that are written and read at once, small enough to hold two copies in memory."""
_MAGIC = b"PAR1"
_NEEDED = ("id", "video", "query", "kind", "span_start", "span_end", "boxes")
_PAIRS = (("segment_start", "segment_end"), ("width", "height"))
"""Pairs of columns that must be either both null or both set."""
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
    metadata={VERSION_KEY: VERSION},
)


def read_index(path: Path, *, split: str | None = None) -> list[Sample]:
    """Read all samples of an index, or those of one split.

    The file's content decides whether it is read as Parquet; a file named .parquet must be Parquet.

    Args:
        path: Parquet or JSON lines.
        split: name of the split to return; None returns all samples.

    Raises:
        AnnotationError: the file is missing or has no samples, or a record is invalid. The message gives the first
            invalid line, or its row (counted from 1) and id, and the field.
    """
    if not is_there(path):
        raise AnnotationError(
            f"{path}: no index of labelled samples; make one with gkcmn-pipe prepare, "
            "or draw labelled videos with gkcmn-pipe synth"
        )
    return of_split(_read_parquet(path) if _is_parquet(path) else read_plain(path), split, path)


def of_split(samples: Sequence[Sample], split: str | None, path: Path) -> list[Sample]:
    """Return the samples of one split.

    Samples without a split belong to "train".

    Args:
        samples: samples of an index.
        split: name of the split; None returns all samples.
        path: the index, for error messages.

    Raises:
        AnnotationError: there are no such samples.
    """
    chosen = [sample for sample in samples if split in (None, sample.split or "train")]
    if not chosen:
        what = "samples" if split is None or not samples else f"samples of split {split!r}"
        raise AnnotationError(f"{path}: holds no {what}; see gkcmn-pipe prepare --help")
    return chosen


def train_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples whose split is explicitly "train"; the list may be empty."""
    return [sample for sample in samples if sample.split == "train"]


def write_index(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples as Parquet.

    Args:
        path: the file to write; an existing file is replaced.
        samples: the samples to write.

    Raises:
        AnnotationError: a sample breaks a rule of `pipeline.data.sample_rules`, so that it could not be read back.
        OutputError: the file cannot be written.
    """
    if (found := first_fault(samples, set())) is not None:
        raise AnnotationError(f"{path}: sample {samples[found[0]].id!a}: {found[1]}")
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
    table = pa.Table.from_arrays(arrays, schema=_SCHEMA)
    # Parquet's page checksums do not cover page headers and the footer; the digest does.
    digest = _content_digest(
        sample for batch in table.to_batches(ROWS) for sample in _decoded(batch, *_boxes_of(batch)[:2])
    )
    table = table.replace_schema_metadata({VERSION_KEY: VERSION, _DIGEST_KEY: digest})
    # Pass an open file: pyarrow treats a name with a colon as a URL and rejects names that are not UTF-8.
    with replacing(path) as partial, partial.open("wb") as file:
        pq.write_table(table, file, compression="zstd", row_group_size=ROWS, write_page_checksum=True)


def samples_digest(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 of all fields that training and scoring use, as hexadecimal digits; depends on the order."""
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


def _is_parquet(path: Path) -> bool:
    """Return whether a file is to be read as Parquet. Raises AnnotationError if it cannot be read."""
    if path.is_fifo():  # bytes read from a pipe could not be read again
        return False
    try:
        with open_input(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC or path.suffix.lower() == ".parquet"
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}); give an index") from error


def _read_parquet(path: Path) -> list[Sample]:
    samples: list[Sample] = []
    seen: set[str] = set()
    try:
        with open_input(path) as raw:  # given the name a:b, pyarrow would open a URL
            file = pq.ParquetFile(raw, page_checksum_verification=True)
            _check_form(path, file.schema_arrow)
            for batch in file.iter_batches(ROWS):
                samples += _samples(batch, path, len(samples), seen)
            digest = (file.schema_arrow.metadata or {}).get(_DIGEST_KEY)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise AnnotationError(f"{path}: not a Parquet file ({first_line(error)}); prepare it again") from error
    # Indexes from older releases have no digest.
    if digest is not None and digest != _content_digest(samples).encode():
        raise AnnotationError(f"{path}: damaged (its samples do not match their checksum); prepare it again")
    return samples


def _content_digest(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 of all fields of an index, as hexadecimal digits."""
    digest = hashlib.sha256()
    for sample in samples:
        fields = (sample.id, sample.video, sample.query, sample.kind, sample.segment, sample.span, sample.split)
        digest.update(repr((*fields, sample.size, sample.frame_count, sample.fps)).encode())
        missing = np.isnan(sample.boxes).any(axis=1)
        digest.update(missing.tobytes() + sample.boxes[~missing].astype("<f4").tobytes())
    return digest.hexdigest()


def _check_form(path: Path, schema: pa.Schema) -> None:
    """Raise AnnotationError unless the columns, their types and the version are those of an index."""
    remedy = "prepare it again with gkcmn-pipe prepare"
    if schema.names != _SCHEMA.names:
        odd = sorted({*schema.names} ^ {*_SCHEMA.names}) or schema.names
        which = ", ".join(repr(name) for name in odd[:3])
        raise AnnotationError(f"{path}: not an index: its columns differ in {which}; {remedy}")
    for given, wanted in zip(schema, _SCHEMA, strict=True):
        if not given.equals(wanted):
            raise AnnotationError(
                f"{path}: not an index: {wanted.name}: holds {given.type}, not {wanted.type}; {remedy}"
            )
    if (schema.metadata or {}).get(VERSION_KEY) != VERSION.encode():
        raise AnnotationError(f"{path}: not an index of this version; {remedy}")


def _samples(batch: pa.RecordBatch, path: Path, before: int, seen: set[str]) -> list[Sample]:
    """Return the samples of one batch that follows `before` rows. Raises AnnotationError at the first invalid one."""
    boxes, offsets, unread = _boxes_of(batch)
    if faults := [*_form_faults(batch), *unread]:
        row, fault = min(faults, key=lambda found: found[0])
        _samples(batch.slice(0, row), path, before, seen)  # an earlier row may have a fault of another kind
        raise _refused(batch, path, before, row, fault)
    samples = _decoded(batch, boxes, offsets)
    if (found := first_fault(samples, seen)) is not None:
        raise _refused(batch, path, before, *found)
    return samples


def _decoded(batch: pa.RecordBatch, boxes: np.ndarray, offsets: np.ndarray) -> list[Sample]:
    """Return the samples of one batch, without checks.

    Args:
        batch: rows of an index.
        boxes: boxes from `_boxes_of`.
        offsets: offsets from `_boxes_of`.
    """
    column = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "boxes"}
    return [
        Sample(
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
        for row, (start, end) in enumerate(pairwise(offsets))
    ]


def _refused(batch: pa.RecordBatch, path: Path, before: int, row: int, fault: Fault) -> AnnotationError:
    return AnnotationError(f"{path}: row {before + row + 1} (id {_cell(batch, 'id', row)!a}): {fault}")


def _boxes_of(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, list[tuple[int, Fault]]]:
    """Return the boxes of a batch, the offsets of its rows, and the first fault.

    Boxes are float32 (frame, 4), NaN where null. Offsets are int (row + 1,): row r has the boxes
    `offsets[r]:offsets[r + 1]`. The list holds the first row with a NaN that is not null, or is empty.
    """
    lists = batch.column("boxes")
    offsets = lists.offsets.to_numpy()
    frames = lists.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    # Arrow also stores four values for a null frame; they are meaningless.
    boxes = frames.values.slice(4 * frames.offset, 4 * len(frames)).to_numpy(zero_copy_only=False)
    boxes = boxes.reshape(-1, 4).copy()
    hidden = frames.is_null().to_numpy(zero_copy_only=False)
    offsets = offsets - offsets[0]
    no_number = np.isnan(boxes)
    no_number[hidden] = False
    boxes[hidden] = np.nan
    if not no_number.any():
        return boxes, offsets, []
    frame = int(no_number.any(axis=1).argmax())
    row = int(np.searchsorted(offsets, frame, side="right")) - 1
    return boxes, offsets, [(row, box_fault(boxes[frame].tolist(), None))]


def _form_faults(batch: pa.RecordBatch) -> Iterator[tuple[int, Fault]]:
    """Yield rows in which a required field is null, or a text field is not UTF-8."""
    null = {name: batch.column(name).is_null().to_numpy(zero_copy_only=False) for name in batch.schema.names}
    missing = {name: null[name] for name in _NEEDED}
    for one, other in _PAIRS:
        missing[one], missing[other] = null[one] & ~null[other], null[other] & ~null[one]
    for name, rows in missing.items():
        if rows.any():
            yield int(rows.argmax()), Fault(rule="unusable value", field=name, cause="it is null", remedy="give it")
    for name in ("id", "video", "query", "kind", "split"):
        try:
            batch.column(name).validate(full=True)
        except pa.ArrowInvalid:
            row = next(row for row in range(batch.num_rows) if _cell(batch, name, row) is None and not null[name][row])
            yield row, Fault(rule="unusable value", field=name, cause="it is not UTF-8", remedy="prepare it again")


def _cell(batch: pa.RecordBatch, name: str, row: int) -> Any:  # noqa: ANN401 - whatever it holds
    """Return one value, or None if it is text that is not UTF-8."""
    try:
        return batch.column(name)[row].as_py()
    except UnicodeDecodeError:
        return None


def _pair(first: int | None, second: int | None) -> Span | None:
    return None if first is None or second is None else (first, second)
