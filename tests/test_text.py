from pathlib import Path

import numpy as np
import pytest

from extract.config import PACKAGED_VECTORS
from extract.errors import MissingInputError, QueryError, WeightsError
from extract.text import QueryEncoder, load_vectors


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
    # The first numbers of "the" in glove.6B.50d.txt, as published.
    assert encoder.dim == 50
    assert encoder("the").vectors[0, :4] == pytest.approx([0.418, 0.24968, -0.41242, 0.1217])
    assert np.array_equal(encoder("Dog").vectors, encoder("dog").vectors)
    assert encoder("red").vectors.dtype == np.float32


def test_a_word_without_a_vector_gets_the_mean(encoder: QueryEncoder) -> None:
    encoded = encoder("the qzxqzx")
    assert encoded.unknown == ("qzxqzx",)
    assert np.allclose(encoded.vectors[1], load_vectors(PACKAGED_VECTORS).vectors.mean(dim=0))


def test_at_most_twenty_words(encoder: QueryEncoder) -> None:
    encoded = encoder(" ".join(["dog"] * 23))
    assert (len(encoded.words), encoded.dropped, encoded.vectors.shape) == (20, 3, (20, 50))


@pytest.mark.parametrize("query", ["", "  \n", "?!"])
def test_a_query_without_words(encoder: QueryEncoder, query: str) -> None:
    with pytest.raises(QueryError, match="no words"):
        encoder(query)


def test_a_file_of_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2 3\ncat 4 5 6\n")
    assert QueryEncoder(str(path), max_words=20)("cat dog").vectors.tolist() == [[4, 5, 6], [1, 2, 3]]
    path.write_text("dog 7 8 9\n")  # a changed file is not answered from the copy of the old one
    assert QueryEncoder(str(path), max_words=20)("dog").vectors.tolist() == [[7, 8, 9]]


def test_what_is_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, content in enumerate(("", "two words here\n", "dog 1 2\ncat 1 2 3\n")):
        path = tmp_path / f"{number}.txt"
        path.write_text(content)
        with pytest.raises(WeightsError, match=f"{number}.txt: not a GloVe text file"):
            load_vectors(str(path))
    with pytest.raises(MissingInputError, match="absent.txt"):
        load_vectors("absent.txt")
