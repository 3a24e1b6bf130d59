"""File names as text: valid Unicode for keys and JSON, and a single printable line for messages."""

from __future__ import annotations

import os
import re
from pathlib import Path

_UNDECODED = re.compile("[\udc80-\udcff]")
# Control characters, line separators, marks that change the direction of text, and surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def name_text(path: str | Path) -> str:
    """Return a path as valid Unicode text that does not depend on the locale.

    Bytes that are not UTF-8 are percent-encoded: the Latin-1 file name `caf\\xe9.mp4` becomes `caf%E9.mp4`.

    Args:
        path: a path as Python represents it, with surrogates for bytes that cannot be decoded.
    """
    text = os.fsencode(path).decode("utf-8", errors="surrogateescape")
    return _UNDECODED.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def printable(text: str) -> str:
    """Return text on one line, with control characters and undecoded bytes as escapes such as `\\n`.

    The result is safe to print: it contains no sequence that a terminal interprets.

    Args:
        text: any string, for example a file name.
    """
    return _UNPRINTABLE.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    if _UNDECODED.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
