"""What the readers of all data sets share: JSON with its errors in words, and files by their stem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from extract.names import name_text
from extract.tree import files_below
from pipeline.errors import AnnotationError

SPLITS = ("train", "val", "test")


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    """A JSON file's content. Raises AnnotationError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: no readable JSON ({error}); copy or download it again") from error


def size_of(record: Any, where: str) -> tuple[int, int]:  # noqa: ANN401 - JSON
    """A record's `width` and `height`, in pixels. Raises AnnotationError."""
    width, height = (int(field(record, key, int, where)) for key in ("width", "height"))
    if min(width, height) < 1:
        raise AnnotationError(f"{where}: its picture is {width}x{height}; is it a file of this data set?")
    return width, height


def field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:  # noqa: ANN401 - JSON
    """A record's value of a known type. Raises AnnotationError."""
    if not isinstance(record, dict) or key not in record:
        raise AnnotationError(f"{where}: has no {key!r}; is it a file of this data set?")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise AnnotationError(f"{where}: {key!r} is {str(value)[:60]!r}; is it a file of this data set?")
    return value


def split_of(path: Path) -> str:
    """The split with which a file's name begins. Raises AnnotationError if it begins with none."""
    for split in SPLITS:
        if path.name.startswith(split):
            return split
    raise AnnotationError(
        f"{path}: its name begins with none of {', '.join(SPLITS)}, which would be its split; rename it"
    )


def by_stem(folder: Path, suffix: str) -> dict[str, list[Path]]:
    """Files below a folder, through links too, by their names without end. Raises AnnotationError if there is none."""
    found: dict[str, list[Path]] = {}
    try:
        paths = files_below(folder, {suffix})
    except OSError as error:
        raise AnnotationError(
            f"{error.filename or folder}: cannot be looked at ({error.strerror}); check the path and rights"
        ) from error
    for path in paths:
        found.setdefault(name_text(path.stem), []).append(path)
    if not found:
        raise AnnotationError(f"{folder}: holds no {suffix} file; check the path")
    return found
