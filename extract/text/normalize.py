"""Query normalization: text that looks the same gets the same spelling, in training and in inference."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(r"[ -%'-;=-_a-~]*")
"""Printable ASCII without "&", "<" and the backtick; such text only needs its spaces normalized."""
_TERMINAL_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colors, cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, hyperlinks
)
_ENTITY = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
"""An HTML entity, including one whose "&" was itself encoded, any number of times. The ";" is required: without it the
match may be a word, as in "salt&pepper"."""
_TAG = re.compile(
    r"<!--(?:(?!<!--).)*?-->|<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)(?P<rest>\s[^<>]*|\s*/)?>",
    flags=re.DOTALL,
)
_HTML = frozenset(
    "a abbr b big blockquote body br center cite code dd del div dl dt em font h1 h2 h3 h4 h5 h6 head hr html i img "  # noqa: SIM905
    "ins kbd li mark ol p pre q s samp small span strike strong sub sup table tbody td th tr tt u ul var wbr".split()
)
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2035\u02b9\u02bb\u02bc\u02bd\u02c8\u00b4\u055a\u05f3", "'"),
        **dict.fromkeys("\ua78b\ua78c\u2039\u203a\uff07`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036\u02ba\u02dd\u05f4\u00ab\u00bb\u301d\u301e\u301f", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\u2043\u02d7\u058a\u05be\u1806\u30a0\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2014\u2015\u2e3a\u2e3b\ufe31\ufe32\ufe58", " - "),  # these separate clauses
        **dict.fromkeys("\u2122\u2120\u00ae\u00a9", " "),  # NFKC would turn the first two into letters
        "\u2044": "/",
    }
)
_COMBINING = r"\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Invisible characters whose Unicode category is that of a letter or a mark, for example variation selectors of
emoji."""
_MARKS = re.compile(f"([{_COMBINING}]{{8}})[{_COMBINING}]+")
"""More combining marks on one letter than any language uses; normalization sorts them in quadratic time."""
_BARE_MARK = re.compile(rf"(^|\s)[{_COMBINING}]+")
_INSIDE = re.compile("(?<![\\w'])[\\w']+(?:\0+[\\w']+)+")
_LONG = re.compile(r"\S{100,}")
"""A run without spaces that is longer than any word. spaCy takes minutes for 100,000 characters of punctuation without
a space."""
_RUN = re.compile(r"([^\w\s])\1{3,}")


def normalize_query(text: str, is_word: Callable[[str], bool] | None = None) -> str:
    r"""Return a query in the form in which it is split into words: NFKC, on one line, without markup or invisible text.

    Typographic quotes, apostrophes and dashes become ', " and -; HTML entities are decoded, and tags are replaced by
    spaces. Punctuation repeated four or more times is shortened to three, and runs of 100 or more characters without a
    space are split at punctuation. Nothing else changes in plain ASCII text apart from its spaces.

    Control and format characters are removed: "do\u00adg" becomes "dog". If the result is not a known word, such a
    character may have separated two words: "dog\u200bruns" becomes "dog runs" if `is_word` is true for both parts and
    false for the joined text.

    Args:
        text: any string; it may contain lone surrogates, NUL and other invalid characters.
        is_word: function that returns whether a word is known; without it, no text is separated this way.
    """
    if _PLAIN.fullmatch(text) is None:
        text = _TERMINAL_SEQUENCE.sub("\0", mended(text))
        text = _ENTITY.sub(lambda found: html.unescape(f"&{found[1]};"), text).translate(_SAME)
        text = unicodedata.normalize("NFKC", "".join(map(_apart, _MARKS.sub(r"\1", text)))).translate(_SAME)
        text = _without_tags("".join(map(_visible, _IGNORABLE.sub("\0", text))))
        text = _INSIDE.sub(lambda found: _joined(found[0], is_word), text).replace("\0", "")
        text = _BARE_MARK.sub(r"\1", unicodedata.normalize("NFC", text))
    text = _LONG.sub(lambda found: parted(found[0], joints=""), _RUN.sub(r"\1\1\1", text))
    return " ".join(text.split())


def parted(word: str, *, joints: str = "'") -> str:
    """Return a word with its punctuation and symbols replaced by spaces; letters, marks, digits and `joints` are kept.

    Args:
        word: the text to split.
        joints: other characters to keep. Parts without a letter or digit are dropped.
    """
    inside = "".join(c if c.isalnum() or c in joints or unicodedata.category(c)[0] == "M" else " " for c in word)
    return " ".join(part for part in inside.split() if any(map(str.isalnum, part)))


def has_words(text: str) -> bool:
    """Return whether a query has any letter or digit after normalization, and therefore at least one word.

    Args:
        text: any string.
    """
    return any(map(str.isalnum, text if _PLAIN.fullmatch(text) else normalize_query(text)))


def mended(text: str) -> str:
    """Return text that can be encoded as UTF-8.

    Surrogates that stand for undecoded bytes are decoded as UTF-8, and halves of a surrogate pair are joined. Invalid
    sequences become U+FFFD.

    Args:
        text: any string.
    """
    if _SURROGATE.search(text) is None:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def printable(text: str) -> str:
    r"""Return text as one line that is safe to print.

    White space of any kind becomes a space, and invisible characters become escapes such as \x1b.

    Args:
        text: any string.
    """
    return "".join(
        char
        if char.isprintable() or char in "\u200c\u200d"  # some scripts and emoji need these two characters
        else " "
        if char.isspace()
        else char.encode("unicode_escape").decode()
        for char in mended(text)
    )


def _apart(char: str) -> str:
    """Return a character, surrounded by spaces if NFKC expands it to several characters or to digits: 1½, №8, m²."""
    if char.isascii() or unicodedata.category(char) not in {"So", "No"}:
        return char
    plain = unicodedata.normalize("NFKC", char)
    return char if plain == char or (len(plain) == 1 and plain.isalpha()) else f" {char} "


def _visible(char: str) -> str:
    """Return a character; NUL instead of an invisible character, and a space instead of any kind of white space."""
    if char.isspace():
        return " "
    return "\0" if unicodedata.category(char) in {"Cc", "Cf", "Co"} else char


def _joined(text: str, is_word: Callable[[str], bool] | None) -> str:
    """Return text with its NULs removed, or replaced by spaces if only that results in known words."""
    whole = text.replace("\0", "")
    if is_word is None or is_word(whole.strip("'")):
        return whole
    parts = [part for part in text.split("\0") if part]
    return " ".join(parts) if all(is_word(part.strip("'")) for part in parts) else whole


def _without_tags(text: str) -> str:
    """Return text with HTML and XML tags replaced by spaces; a lone "<dog>" is a word in brackets and is kept."""
    closed = {found["name"].lower() for found in _TAG.finditer(text) if found["end"]}

    def blank(found: re.Match[str]) -> str:
        name = (found["name"] or "").lower()
        is_tag = not name or found["rest"] or name in _HTML or name in closed
        return " " if is_tag else found[0]

    return _TAG.sub(blank, text)
