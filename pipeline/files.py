"""Results that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from extract.errors import GkcmnError
from pipeline.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes `path`'s place when the block ends well.

    Raises:
        OutputError: the place cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if isinstance(error, GkcmnError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); name another place") from error
    finally:
        if partial.exists():
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none. Raises OutputError."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
