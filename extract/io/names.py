"""File names as text: in keys and JSON, which must be valid Unicode, and in messages, which must be one line."""

from __future__ import annotations

import os
import re
from pathlib import Path

_UNDECODED = re.compile("[\udc80-\udcff]")
# Control characters, line separators, marks that reverse the direction of text, and surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def name_text(path: str | Path) -> str:
    """A path as valid Unicode text, the same under every locale.

    Bytes that are not UTF-8 are percent-encoded: the file name `caf\\xe9.mp4` in Latin-1 becomes `caf%E9.mp4`.
    """
    text = os.fsencode(path).decode("utf-8", errors="surrogateescape")
    return _UNDECODED.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def printable(text: str) -> str:
    """Text on one line that no terminal obeys: control characters and undecoded bytes as escapes, like `\\n`."""
    return _UNPRINTABLE.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    if _UNDECODED.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
