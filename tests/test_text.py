import html
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.config import PACKAGED_VECTORS
from extract.errors import QueryError
from extract.text.encoder import QueryEncoder
from extract.text.normalize import has_words, mended, normalize_query, printable
from extract.text.spelling import spellings
from extract.text.vectors import load_vectors


@pytest.fixture(scope="module")
def encoder() -> QueryEncoder:
    return QueryEncoder(PACKAGED_VECTORS, max_words=20)


def test_words_without_punctuation(encoder: QueryEncoder) -> None:
    assert encoder("Who is holding the dog's ball?").words == (
        "Who",
        "is",
        "holding",
        "the",
        "dog",
        "'s",
        "ball",
    )


def test_vectors_are_glove_s(encoder: QueryEncoder) -> None:
    # The published vector of "the" in glove.6B.50d.txt starts with these numbers.
    assert encoder.dim == 50
    assert encoder("the").vectors[0, :4] == pytest.approx([0.418, 0.24968, -0.41242, 0.1217])
    assert np.array_equal(encoder("Dog").vectors, encoder("dog").vectors)
    assert encoder("red").vectors.dtype == np.float32


def test_a_word_without_a_vector_gets_the_mean(encoder: QueryEncoder) -> None:
    encoded = encoder("the qzxqzx")
    assert encoded.unknown == ("qzxqzx",)
    assert np.allclose(encoded.vectors[1], load_vectors(PACKAGED_VECTORS).vectors.mean(dim=0))


@pytest.mark.parametrize("joint", [" ", "&", "-", "\u200b", ") ("])
def test_at_most_twenty_words(encoder: QueryEncoder, joint: str) -> None:
    encoded = encoder(joint.join(["dog"] * 23))
    assert (len(encoded.words), encoded.dropped, encoded.vectors.shape) == (20, 3, (20, 50))


INVISIBLE = {
    "zero-width space": "\u200b", "NUL": "\0", "soft hyphen": "\u00ad", "joiner": "\u200d", "non-joiner": "\u200c",
    "byte order mark": "\ufeff", "left-to-right mark": "\u200e", "override": "\u202e", "isolate": "\u2066",
    "word joiner": "\u2060", "grapheme joiner": "\u034f", "variation selector": "\ufe0f", "Hangul filler": "\u3164",
    "private use": "\ue000", "tag": "\U000e0041", "backspace": "\b", "escape": "\x1b", "delete": "\x7f",
    "C1 control": "\x80", "color": "\x1b[31m", "title": "\x1b]0;title\x07",
}  # fmt: skip


@pytest.mark.parametrize("char", INVISIBLE.values(), ids=INVISIBLE)
def test_what_is_invisible_changes_no_vector(encoder: QueryEncoder, char: str) -> None:
    plain = encoder("the dog runs").vectors
    for query in (f"the dog{char} runs", f"the d{char}og runs", f"{char}the {char}dog{char} runs{char}"):
        found = encoder(query)
        assert found.words == ("the", "dog", "runs")
        assert np.array_equal(found.vectors, plain)
    # It acts as a space between known words that are unknown when joined; "qzx" is unknown, so it is dropped there.
    assert encoder(f"the 'dog's{char}ball' runs").words == ("the", "dog", "'s", "ball", "runs")
    assert encoder(f"the dog{char}runs").words == ("the", "dog", "runs")
    assert encoder(f"qzx{char}qzx").words == ("qzxqzx",)


SAME = {
    "typographic apostrophe": ("the dog\u2019s ball", "the dog's ball"),
    "apostrophe letter": ("the dog\u02bcs ball", "the dog's ball"),
    "prime": ("the dog\u2032s ball", "the dog's ball"),
    "acute accent": ("the dog\u00b4s ball", "the dog's ball"),
    "backtick": ("the dog`s ball", "the dog's ball"),
    "full-width apostrophe": ("the dog\uff07s ball", "the dog's ball"),
    "contraction": ("he doesn\u2019t run", "he doesn't run"),
    "quotes": ("the \u201cdog\u201d \u2018runs\u2019 \u00abhere\u00bb", "the dog runs here"),
    "non-breaking hyphen": ("a t\u2011shirt", "a t-shirt"),
    "hyphen": ("a t\u2010shirt", "a t-shirt"),
    "minus": ("a t\u2212shirt", "a t-shirt"),
    "en dash": ("a t\u2013shirt", "a t-shirt"),
    "full-width hyphen": ("a t\uff0dshirt", "a t-shirt"),
    "em dash": ("a t\u2014shirt", "a t shirt"),
    "decomposed": ("a cafe\u0301", "a caf\u00e9"),
    "decomposed Hangul": ("\u1112\u1161\u11ab", "\ud55c"),
    "full-width": ("\uff44\uff4f\uff47", "dog"),
    "ligature": ("\ufb01eld", "field"),
    "mathematical letters": ("\U0001d41d\U0001d428\U0001d420", "dog"),
    "circled letters": ("\u24d3\u24de\u24d6", "dog"),
    "fraction": ("1\u00bd dogs", "1 1/2 dogs"),
    "number sign": ("\u21168", "No 8"),
    "trademark": ("dog\u2122", "dog"),
    "ellipsis": ("dog\u2026cat", "dog cat"),
    "spaces": ("\u00a0dog\u3000cat\t\n\x0b\x1c\u2028man ", "dog cat man"),
    "struck out": ("d\u0336o\u0336g\u0336", "dog"),
    "ampersand": ("black&white", "black white"),
    "entity": ("black&amp;white", "black white"),
    "entity twice": ("black&amp;amp;white", "black white"),
    "numeric entity": ("dog&#39;s &#x201c;ball&#8221;&nbsp;here", "dog's ball here"),
    "no entity": ("salt&pepper", "salt pepper"),
    "parenthesis": ("a man(tall)", "a man tall"),
    "tags": ("<b>dog</b>", "dog"),
    "tags as entities": ("&lt;b&gt;dog&lt;/b&gt;", "dog"),
    "tag with attributes": ('<span class="x">dog</span><br/>cat<!-- man -->', "dog cat"),
    "tags of XML": ("<np>dog</np>", "dog"),
    "word in brackets": ("the <dog> runs", "the dog runs"),
    "no tag": ("dog < cat > man", "dog cat man"),
    "slash": ("dog/cat", "dog cat"),
    "comma": ("red,blue", "red blue"),
    "full stop": ("dog.cat", "dog cat"),
    "sentence": ("dog.The cat", "dog The cat"),
    "exclamation": ("dog!!!", "dog"),
    "hash": ("#dog", "dog"),
    "at": ("@man", "man"),
    "underscore": ("dog_cat", "dog cat"),
    "semicolon": ("dog;cat", "dog cat"),
    "signs": ("dog=cat+man*tall^red~blue|ball\\hat", "dog cat man tall red blue ball hat"),
    "brackets": ("[dog]{cat}(man)", "dog cat man"),
    "quote inside": ("dog'cat", "dog cat"),
    "foreign punctuation": ("\u300adog\u300b\u3002cat", "dog cat"),
    "number": ("no.8", "no 8"),
    "number beside letters": ("dog2 and 17men at 12:30pm", "dog 2 and 17 men at 12 30 pm"),
    "emoji": ("\U0001f600dog\U0001f600cat\u2764\ufe0f", "dog cat"),
    "family of emoji": ("dog \U0001f468\u200d\U0001f469\u200d\U0001f467", "dog"),
    "keycap": ("1\ufe0f\u20e3 dog", "1 dog"),
    "surrogate pair": ("dog \ud83d\ude00", "dog"),
    "byte that is not UTF-8": ("caf\udce9 dog", "caf dog"),
    "bytes of UTF-8": ("caf\udcc3\udca9", "caf\u00e9"),
    "hyphens": ("blond-hair", "blond hair"),
    "hyphens and an unknown word": ("qzx-dog", "qzx dog"),
}


@pytest.mark.parametrize(("query", "plain"), SAME.values(), ids=SAME)
def test_what_looks_the_same_gets_the_same_vectors(encoder: QueryEncoder, query: str, plain: str) -> None:
    found, expected = encoder(query), encoder(plain)
    assert [word in found.unknown for word in found.words] == [word in expected.unknown for word in expected.words]
    assert np.array_equal(found.vectors, expected.vectors)


@pytest.mark.parametrize(
    "word",
    ["t-shirt", "T-Shirts", "5-year-old", "mother-in-law", "U.S.", "3.5", "10,000", "1/2", "o'clock", "r&b", "and/or"],
)
def test_what_has_a_vector_stays_whole(encoder: QueryEncoder, word: str) -> None:
    assert encoder(f"({word})").words == (word,)
    assert encoder(word).unknown == ()


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("Dog", "dog"),
        ("D\u00f3g", "dog"),
        ("dogs", "dog"),
        ("ponies", "pony"),
        ("ties", "tie"),
        ("boxes", "box"),
        ("touchs", "touch"),
        ("horses", "horse"),
        ("throwes", "throw"),
        ("carrys", "carry"),
        ("wolves", "wolf"),
        ("knives", "knife"),
        ("dog's", "dog"),
        ("\u0141\u00f3d\u017a", "lodz"),
    ],
)
def test_spellings_of_a_word_that_a_table_lacks(word: str, known: str) -> None:
    assert known in spellings(word)
    assert next(spellings(word)) == word


@pytest.mark.parametrize("word", ["glass", "bus", "is", "dog"])
def test_what_is_no_plural_stays(word: str) -> None:
    assert set(spellings(word)) <= {word, "bu"}


def test_a_small_table_serves_other_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2\nPony 3 4\npony 5 6\nred-haired 7 8\n")
    found = QueryEncoder(str(path), max_words=20)("D\u00f3gs Pony ponies red\u2011haired red-dog")
    assert found.words == ("D\u00f3gs", "Pony", "ponies", "red-haired", "red", "dog")
    assert found.unknown == ("red",)
    assert found.vectors[[0, 1, 2, 3, 5]].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [1, 2]]


EMPTY = ["", "  \n", "?!", "\u200b", "\0", "\u00ad\ufeff", "\U0001f600", "\u2122", "<b></b>", "&nbsp;", "\ud800", "'",
         "\x1b[31m", "\u0301", "\ue000", "\u2014", "_", "..."]  # fmt: skip


@pytest.mark.parametrize("query", EMPTY, ids=ascii)
def test_a_query_without_words(encoder: QueryEncoder, query: str) -> None:
    assert not has_words(query)
    with pytest.raises(QueryError, match="no words") as caught:
        encoder(query)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "()" * 20_000,
        "a-" * 20_000,
        "a'" * 20_000,
        "&amp;" * 10_000,
        "<" * 40_000,
        "<!--" * 10_000,
        "a" + "\u0301\u0323" * 20_000,
        "\x1b[" * 20_000,
        "\U0001f600\U0001f603" * 20_000,
        "dog " * 300_000,
    ],
    ids=lambda text: ascii(text[:4]),
)
def test_long_queries_are_quick(encoder: QueryEncoder, text: str) -> None:
    # Without limits on the text that spaCy splits and on combining marks, the worst of these take minutes each.
    assert len(encoder(f"{text} dog").words) <= 20


def test_plain_text_stays_as_it_is() -> None:
    for text in ("the man in red runs to the left.", "Who's holding the dog's t-shirt, and why?", "10,000 (or 3.5)"):
        assert normalize_query(text) == text
        assert normalize_query(f"  {text}\n") == text


TEXT = st.text(st.one_of(st.characters(), st.sampled_from("dog<b>/&;amp'-\u200b\0\u0301\udce9 \x1b[")), max_size=40)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_is_split_or_has_no_words(encoder: QueryEncoder, text: str) -> None:
    normal = normalize_query(text)
    normal.encode()
    assert not {"\0", "\u200b", "\u00ad", "\x1b", "\n"} & set(normal)
    assert printable(text).encode().isascii() or printable(text).isprintable() or "\u200c" in text or "\u200d" in text
    assert has_words(text) is any(map(str.isalnum, normal))
    if not has_words(text):
        with pytest.raises(QueryError):
            encoder(text)
        return
    found = encoder(text)
    assert found.words
    assert all(any(map(str.isalnum, word)) for word in found.words)
    assert np.isfinite(found.vectors).all()
    assert encoder(html.escape(text)).words
    assert np.array_equal(encoder(mended(text)).vectors, found.vectors)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the dog", "the dog"),
        ("dog\0\x1b[31m\ud800", "dog\\x00\\x1b[31m\ufffd"),
        ("dog\n\u00a0cat", "dog  cat"),
        ("dog\u202e\u200b", "dog\\u202e\\u200b"),
        ("caf\u00e9 \u72d7", "caf\u00e9 \u72d7"),
    ],
)
def test_what_is_printed_is_safe(text: str, shown: str) -> None:
    assert printable(text) == shown
