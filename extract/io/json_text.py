"""JSON parsing for untrusted input: every defect is reported as a ValueError."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from extract.io.open_input import open_input

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16, in which some editors save a file instead of UTF-8."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes, *, on_repeated: Callable[[str], None] | None = None, has_paths: bool = False) -> Any:  # noqa: ANN401 - any JSON value
    """Parse one JSON document.

    Args:
        text: the document; bytes must be UTF-8 and may start with a byte order mark.
        on_repeated: called with each key that occurs more than once in an object; the last value is used. Without this
            function, a repeated key is an error.
        has_paths: accept lone surrogates in strings. They encode the bytes of a path that are not UTF-8, as
            `os.fsdecode` creates them and `json.dumps` writes them.

    Returns:
        The parsed value.

    Raises:
        ValueError: the text is not UTF-8, is not JSON, contains NaN, an infinity or half of a surrogate pair, is nested
            too deeply, or has an object with a repeated key.
    """
    if isinstance(text, bytes):
        text = decode_utf8(text)

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    (on_repeated or _refuse_repeated)(key)
                seen.add(key)
        return found

    try:
        content = json.loads(text, parse_constant=_refuse, object_pairs_hook=distinct)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _SURROGATE.search(text):
        _check_text(content, errors="surrogateescape" if has_paths else "strict")
    return content


def decode_utf8(text: bytes) -> str:
    """Decode UTF-8 bytes and remove a byte order mark.

    Args:
        text: the bytes to decode.

    Raises:
        ValueError: the bytes are not UTF-8.
    """
    if text.startswith(UTF_16):
        raise ValueError("it is UTF-16; save it as UTF-8")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8; save it as UTF-8") from None


def read_json_file(path: Path, *, has_paths: bool = False) -> Any:  # noqa: ANN401 - any JSON value
    """Read and parse a JSON file.

    Args:
        path: the file to read.
        has_paths: see `parse_json`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the content is invalid; see `parse_json`.
    """
    with open_input(path) as file:
        return parse_json(file.read(), has_paths=has_paths)


def json_digest(document: object) -> str:
    """Return the SHA-256 of a JSON document in hex, independent of key order and white space.

    Args:
        document: a value that `json.dumps` can serialize.

    Raises:
        ValueError: the document contains NaN or an infinity, which JSON cannot represent.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _refuse_repeated(key: str) -> NoReturn:
    raise ValueError(f"key {key[:60]!a} stands twice in one object")


def _check_text(content: Any, *, errors: str) -> None:  # noqa: ANN401 - any JSON value
    """Raise ValueError if a string has half of a surrogate pair that UTF-8 with the error handler `errors` rejects."""
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            try:
                item.encode(errors=errors)
            except UnicodeEncodeError:
                raise ValueError("it holds half of a surrogate pair, which is no character") from None
