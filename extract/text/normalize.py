"""One spelling for what looks the same: queries are normalized here, for training and for grounding."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(r"[ -%'-;=-_a-~]*")
"""Printable ASCII without "&", "<" and the backtick: nothing to do but to count spaces."""
_TERMINAL_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colors, movements of the cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
)
_ENTITY = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
"""An HTML entity, however often its own "&" was encoded; without ";" it may be a word, as in "salt&pepper"."""
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
        **dict.fromkeys("\u2014\u2015\u2e3a\u2e3b\ufe31\ufe32\ufe58", " - "),  # these part sentences
        **dict.fromkeys("\u2122\u2120\u00ae\u00a9", " "),  # NFKC would make letters of the first two
        "\u2044": "/",
    }
)
_COMBINING = r"\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""What is invisible though its category is that of a letter or a mark, as the variation selectors of emoji."""
_MARKS = re.compile(f"([{_COMBINING}]{{8}})[{_COMBINING}]+")
"""More marks on a letter than any language has; ordering them takes time quadratic in their number."""
_BARE_MARK = re.compile(rf"(^|\s)[{_COMBINING}]+")
_INSIDE = re.compile("(?<![\\w'])[\\w']+(?:\0+[\\w']+)+")
_LONG = re.compile(r"\S{100,}")
"""Longer than any word; spaCy takes minutes for 100,000 characters of punctuation without a space."""
_RUN = re.compile(r"([^\w\s])\1{3,}")


def normalize_query(text: str, is_word: Callable[[str], bool] | None = None) -> str:
    r"""Return a query as it is split into words: NFKC, on one line, without markup or anything invisible.

    Typographic quotes, apostrophes and dashes become ', " and -; HTML entities are decoded, tags give way
    to spaces. Plain text returns unchanged but for its spaces.

    Control and format characters are dropped: "do\u00adg" is "dog". Within what is no word without them
    they may have parted two: "dog\u200bruns" is "dog runs" if `is_word` says so of both parts and not of
    the whole.

    Args:
        text: any string, with lone surrogates, NUL or whatever else.
        is_word: whether a word is known; without it nothing is parted.
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
    """A word with spaces for its punctuation and symbols: letters, marks, digits and `joints` are left."""
    inside = "".join(c if c.isalnum() or c in joints or unicodedata.category(c)[0] == "M" else " " for c in word)
    return " ".join(part for part in inside.split() if any(map(str.isalnum, part)))


def has_words(text: str) -> bool:
    """Whether a query has any word: any letter or digit, once it is normalized."""
    return any(map(str.isalnum, text if _PLAIN.fullmatch(text) else normalize_query(text)))


def mended(text: str) -> str:
    """Text that can be encoded as UTF-8: what were bytes of it, or halves of a pair, are joined, others U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def printable(text: str) -> str:
    r"""Text as one line that is safe to print: other spaces are spaces, invisible characters stand as \x1b."""
    return "".join(
        char
        if char.isprintable() or char in "\u200c\u200d"  # some scripts and emoji need these two
        else " "
        if char.isspace()
        else char.encode("unicode_escape").decode()
        for char in mended(text)
    )


def _apart(char: str) -> str:
    """A character, parted from its neighbours if NFKC makes several, or digits, of it: 1½, №8, m²."""
    if char.isascii() or unicodedata.category(char) not in {"So", "No"}:
        return char
    plain = unicodedata.normalize("NFKC", char)
    return char if plain == char or (len(plain) == 1 and plain.isalpha()) else f" {char} "


def _visible(char: str) -> str:
    """A character; NUL for an invisible one, a space for one that is a kind of space."""
    if char.isspace():
        return " "
    return "\0" if unicodedata.category(char) in {"Cc", "Cf", "Co"} else char


def _joined(text: str, is_word: Callable[[str], bool] | None) -> str:
    """Text without the NULs in it, or with spaces for them if that is what makes words of it."""
    whole = text.replace("\0", "")
    if is_word is None or is_word(whole.strip("'")):
        return whole
    parts = [part for part in text.split("\0") if part]
    return " ".join(parts) if all(is_word(part.strip("'")) for part in parts) else whole


def _without_tags(text: str) -> str:
    """Text without tags of HTML and XML; "<dog>" alone is a word in brackets, and stays."""
    closed = {found["name"].lower() for found in _TAG.finditer(text) if found["end"]}

    def blank(found: re.Match[str]) -> str:
        name = (found["name"] or "").lower()
        is_tag = not name or found["rest"] or name in _HTML or name in closed
        return " " if is_tag else found[0]

    return _TAG.sub(blank, text)
