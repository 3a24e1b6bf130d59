"""Shared functions of the data set readers: read JSON, check its fields, and find files by their stem."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from extract.io.json_text import parse_json
from extract.io.names import name_text
from extract.io.open_input import open_input
from extract.io.tree import files_below
from pipeline.data.sample_rules import MAX_FRAMES, MAX_PIXELS
from pipeline.errors import AnnotationError

SPLITS = ("train", "val", "test")
_REMEDY = "is it a file of this data set?"


def read_json(path: Path, on_repeated: Callable[[str], None] = lambda _: None) -> Any:  # noqa: ANN401 - whatever it holds
    """Return the content of a JSON file.

    Args:
        path: the file.
        on_repeated: called with each key that is repeated in one object; the last value is used. Repeated keys are
            accepted because published annotation files contain them.

    Raises:
        AnnotationError: the file cannot be read or is not JSON.
    """
    try:
        with open_input(path) as file:
            return parse_json(file.read(), on_repeated=on_repeated)
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AnnotationError(f"{path}: no readable JSON ({reason}); copy or download it again") from error


def size_of(record: Any, where: str) -> tuple[int, int]:  # noqa: ANN401 - JSON
    """Return a record's `width` and `height` in pixels.

    Args:
        record: one JSON value; it should be an object.
        where: location of the record, for error messages.

    Raises:
        AnnotationError: a value is missing, not an integer, or not from 1 to `MAX_PIXELS`.
    """
    return check_size(field(record, "width", int, where), field(record, "height", int, where), where)


def check_size(width: int, height: int, where: str) -> tuple[int, int]:
    """Check a frame size, and return its width and height unchanged.

    Args:
        width: width in pixels.
        height: height in pixels.
        where: location of the record, for error messages.

    Raises:
        AnnotationError: a value is not from 1 to `MAX_PIXELS`.
    """
    if not all(1 <= side <= MAX_PIXELS for side in (width, height)):
        raise AnnotationError(f"{where}: its picture is {_shown(width)}x{_shown(height)}; {_REMEDY}")
    return width, height


def frame_of(record: Any, key: str, where: str) -> int:  # noqa: ANN401 - JSON
    """Return a frame number or frame count of a record; the rules may still reject it.

    Args:
        record: one JSON value; it should be an object.
        key: name of the field.
        where: location of the record, for error messages.

    Raises:
        AnnotationError: the value is missing or not an integer, or its absolute value exceeds `MAX_FRAMES`, so that it
            must be in another unit.
    """
    number = int(field(record, key, int, where))
    if abs(number) > MAX_FRAMES:
        raise AnnotationError(f"{where}: {key!r} is {_shown(number)}, no number of frames; {_REMEDY}")
    return number


def number_of(record: Any, key: str, where: str) -> float:  # noqa: ANN401 - JSON
    """Return a number of a record as float; it may be infinite.

    Args:
        record: one JSON value; it should be an object.
        key: name of the field.
        where: location of the record, for error messages.

    Raises:
        AnnotationError: the value is missing or not a number.
    """
    return as_float(field(record, key, (int, float), where))


def as_float(number: float) -> float:
    """Convert a JSON number to float; an integer that is too large becomes plus or minus infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:  # noqa: ANN401 - JSON
    """Return a field of a record and check its type; booleans do not count as numbers.

    Args:
        record: one JSON value; it should be an object.
        key: name of the field.
        kind: required type, or several allowed types.
        where: location of the record, for error messages.

    Raises:
        AnnotationError: the field is missing or has another type.
    """
    if not isinstance(record, dict) or key not in record:
        raise AnnotationError(f"{where}: has no {key!r}; {_REMEDY}")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise AnnotationError(f"{where}: {key!r} is {_shown(value)!r}; {_REMEDY}")
    return value


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return the first 60 characters of a value's representation; long and deeply nested values are abbreviated."""
    return (value if isinstance(value, str) else reprlib.repr(value))[:60]


def split_of(path: Path) -> str:
    """Return the split that a file's name starts with. Raises AnnotationError if there is none."""
    for split in SPLITS:
        if path.name.startswith(split):
            return split
    raise AnnotationError(
        f"{path}: its name begins with none of {', '.join(SPLITS)}, which would be its split; rename it"
    )


def by_stem(folder: Path, suffix: str) -> dict[str, list[Path]]:
    """Return the files with a suffix in a folder and its subfolders, by stem; symbolic links are followed.

    Args:
        folder: the folder to search.
        suffix: file name extension with its dot, such as ".json".

    Raises:
        AnnotationError: the folder cannot be read, or has no such file.
    """
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
