"""Alternative spellings under which a vector table may contain an English word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_BARE = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i", "ß": "ss", "æ": "ae", "œ": "oe"}
)
_WITH_ES = re.compile(r".+(?:[sxz]|[cs]h|o)es")


def spellings(word: str) -> Iterator[str]:
    """Yield the spellings of a word, closest first: as written, in lower case, without accents, in the singular.

    Args:
        word: one word.
    """
    yield word
    yield (lower := word.lower())
    yield (bare := without_accents(lower))
    yield from _singular(bare)


def without_accents(word: str) -> str:
    """Return a word without accents and with special letters replaced: "café" becomes "cafe".

    Args:
        word: one word.
    """
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", word.translate(_BARE))
    return unicodedata.normalize("NFC", "".join(char for char in apart if unicodedata.category(char)[0] != "M"))


def _singular(word: str) -> Iterator[str]:
    """Yield the possible base forms of an English plural, possessive or third-person verb."""
    if word.endswith("'s"):
        yield word[:-2]
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return
    if word.endswith("ies"):
        yield word[:-3] + "y"
    if word.endswith("ves"):
        yield from (word[:-3] + "f", word[:-3] + "fe")
    if _WITH_ES.fullmatch(word):
        yield word[:-2]
    yield word[:-1]
    if word.endswith("es"):
        yield word[:-2]
