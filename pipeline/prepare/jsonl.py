"""The plain format (see `pipeline.data.jsonl`) as drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.data.jsonl import box_rows, plain_records
from pipeline.prepare.records import Draft


def plain_drafts(files: Sequence[Path]) -> Iterator[Draft]:
    """Each line of files of JSON lines. Raises AnnotationError at a line of another form."""
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
