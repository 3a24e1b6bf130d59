"""What the readers of all data sets share: JSON with its errors in words, and files by their stem."""

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
    """A JSON file's content.

    Args:
        path: the file.
        on_repeated: called with a key that stands twice in one object, whose last value counts: published files
            are taken as they are.

    Raises:
        AnnotationError: the file cannot be read, or is no JSON.
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
    """A record's `width` and `height`, in pixels.

    Raises:
        AnnotationError: one is no whole number, or no length of a picture's side.
    """
    return check_size(field(record, "width", int, where), field(record, "height", int, where), where)


def check_size(width: int, height: int, where: str) -> tuple[int, int]:
    """The same two, if a picture may have that size. Raises AnnotationError."""
    if not all(1 <= side <= MAX_PIXELS for side in (width, height)):
        raise AnnotationError(f"{where}: its picture is {_shown(width)}x{_shown(height)}; {_REMEDY}")
    return width, height


def frame_of(record: Any, key: str, where: str) -> int:  # noqa: ANN401 - JSON
    """A record's number of a frame or of frames, which rules may still reject.

    Raises:
        AnnotationError: it is no whole number, or so large that it counts something else.
    """
    number = int(field(record, key, int, where))
    if abs(number) > MAX_FRAMES:
        raise AnnotationError(f"{where}: {key!r} is {_shown(number)}, no number of frames; {_REMEDY}")
    return number


def number_of(record: Any, key: str, where: str) -> float:  # noqa: ANN401 - JSON
    """A record's number, which may be infinite. Raises AnnotationError if it is none."""
    return as_float(field(record, key, (int, float), where))


def as_float(number: float) -> float:
    """A number of JSON, where whole ones may be larger than any float: these become infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:  # noqa: ANN401 - JSON
    """A record's value of a known type. Raises AnnotationError."""
    if not isinstance(record, dict) or key not in record:
        raise AnnotationError(f"{where}: has no {key!r}; {_REMEDY}")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise AnnotationError(f"{where}: {key!r} is {_shown(value)!r}; {_REMEDY}")
    return value


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON
    """The beginning of a value, however long or deep it is."""
    return (value if isinstance(value, str) else reprlib.repr(value))[:60]


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
