"""Read annotations in the JSON lines format of `pipeline.data.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.data.jsonl import box_rows, plain_records
from pipeline.prepare.records import Draft


def plain_drafts(files: Sequence[Path]) -> Iterator[Draft]:
    """Yield a draft for each line of the files.

    A record without an id gets its line number, preceded by the file's stem if there are several files.

    Raises:
        AnnotationError: a file cannot be read, or a line has the wrong form.
    """
    for path in files:
        for number, record in plain_records(path):
            yield Draft(
                id=record.id or (f"{number}" if len(files) == 1 else f"{path.stem}-{number}"),
                video=record.video,
                query=record.query,
                kind=record.kind,
                segment=record.segment,
                span=record.span,
                boxes=box_rows(record.boxes),
                split=record.split,
                size=None,
                frame_count=None,
                fps=None,
            )
