"""Read JSON lines: one object per line, validated against a pydantic model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from pydantic import BaseModel, BeforeValidator, Strict, ValidationError

from extract.errors import GkcmnError
from extract.io.json_text import UTF_16, parse_json
from extract.io.open_input import open_input

Record = TypeVar("Record", bound=BaseModel)

_REMEDY = "give one JSON object a line, see README for its form"
_BINARY = {b"PAR1": "is a Parquet file", b"\x1f\x8b": "is compressed with gzip", b"PK\x03\x04": "is a zip archive"}
"""First bytes of files that are often passed by mistake instead of JSON lines."""


def _whole(value: object) -> object:
    """Convert 30.0 to 30, because some tools write integers as floats; return any other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


FrameNumber = Annotated[int, Strict(), BeforeValidator(_whole)]
"""A frame number: an integer; strings, booleans and fractions are rejected."""
Side = Annotated[float, Strict()]
BoxSides = tuple[Side, Side, Side, Side]


def json_records(path: Path, model: type[Record], error: type[GkcmnError]) -> Iterator[tuple[int, Record]]:
    """Yield each line's number, counted from 1, and its record; empty lines are skipped.

    Args:
        path: a UTF-8 text file, with or without a byte order mark.
        model: the pydantic model of a line.
        error: the exception type to raise; its message is "FILE:LINE: field: cause; remedy".

    Raises:
        GkcmnError: an exception of type `error`, if the file cannot be read or is not text, or a line does not match
            the model.
    """
    try:
        with open_input(path) as file:
            for number, line in enumerate(_lines(file), start=1):
                if line.strip():
                    yield number, _parse(model, line, f"{path}:{number}", error)
    except OSError as failure:
        raise error(f"{path}: cannot be read ({failure.strerror}); give a file of JSON lines") from failure
    except ValueError as failure:
        if isinstance(failure, GkcmnError):
            raise
        raise error(f"{path}: cannot be read ({failure}); give a file of JSON lines") from failure


def first_fault(error: ValidationError) -> str:
    """Return the field and the message of the first validation error."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key or 'the line'}: {first['msg']}"


def _lines(file: BinaryIO) -> Iterator[bytes]:
    first = file.readline()
    for mark, meaning in _BINARY.items():
        if first.startswith(mark):
            raise ValueError(f"it {meaning}")
    if first.startswith(UTF_16):
        raise ValueError("it is UTF-16; save it as UTF-8")
    yield first.removeprefix(b"\xef\xbb\xbf")
    yield from file


def _parse(model: type[Record], line: bytes, where: str, error: type[GkcmnError]) -> Record:
    try:
        if _needs_a_closer_look(line):
            parse_json(line)
        return model.model_validate_json(line)
    except ValidationError as fault:
        raise error(f"{where}: {first_fault(fault)}; {_REMEDY}") from fault
    except ValueError as fault:
        raise error(f"{where}: the line: {fault}; {_REMEDY}") from fault


def _needs_a_closer_look(line: bytes) -> bool:
    """Return whether a line may contain a repeated key, a NaN or other input that pydantic does not reject.

    Only these lines are parsed twice, because parsing every line twice would be slow.
    """
    if b"\\" in line or line.count(b"{") > 1 or b"NaN" in line or b"Infinity" in line or not _is_utf8(line):
        return True
    parts = line.split(b'"')  # there are no escapes, so each odd part is a string
    keys = [text for text, after in zip(parts[1::2], parts[2::2], strict=False) if after.lstrip().startswith(b":")]
    return len(set(keys)) < len(keys)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
