"""Queries in a feature store, with any text and from older encodings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.config import ExtractConfig
from extract.errors import MissingInputError, QueryError
from extract.store.feature_store import FeatureStore
from pipeline.checkpoint import load_settings
from pipeline.data.queries import can_stand_for, encoding_name, ensure_queries
from pipeline.errors import CheckpointError
from pipeline.inference.predict import check_encoding
from pipeline.inference.pretrained import SHIPPED


@pytest.fixture
def place(tmp_path: Path) -> str:
    FeatureStore.open_for(tmp_path / "s.zarr", {})
    return str(tmp_path / "s.zarr")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExtractConfig:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "mine.txt"
    path.write_text("dog 1 2\nball 3 4\n's 5 6\nred-haired 7 8\nhaired 9 10\n")
    return ExtractConfig(vectors=str(path))


def test_any_text_is_kept_and_found_again(place: str, config: ExtractConfig) -> None:
    wanted = ["dog", "dog\0", "dog\u200b", "dog \udce9", "dog \ud800", "\ud83d\ude00dog", "Dog\u2019s ball", " dog\n",
              "\u0000dog\x1b[31m", "do\u00adg", "<b>dog</b>", "dog" * 40 + " dog"]  # fmt: skip
    first = ensure_queries(wanted, place, config)
    again = ensure_queries(wanted, place, config)
    assert again.added == 0
    assert list(first.queries) == list(again.queries) == wanted
    for text in wanted:
        assert first.queries[text].words == again.queries[text].words
        assert np.array_equal(first.queries[text].vectors, again.queries[text].vectors)
    assert first.queries["Dog\u2019s ball"].vectors.tolist() == [[1, 2], [5, 6], [3, 4]]
    assert again.queries["dog\0"].words == ("dog",)


def test_a_query_without_words_adds_nothing(place: str, config: ExtractConfig) -> None:
    with pytest.raises(QueryError, match="no words"):
        ensure_queries(["dog", "\u200b"], place, config)
    assert FeatureStore.open(place).queries(encoding_name(config)) == {}


def test_what_earlier_rules_encoded_is_not_read(place: str, config: ExtractConfig) -> None:
    earlier = encoding_name(config).removesuffix(", normalized")
    assert earlier != encoding_name(config)
    new = ensure_queries(["a red-haired dog"], place, config).queries["a red-haired dog"]
    old = replace(new, words=("a", "red", "haired", "dog"), vectors=np.full((4, 2), 9, np.float32))
    FeatureStore.open(place, writable=True).add_queries(earlier, {"the dog": old, "a red-haired dog": old})
    again = ensure_queries(["a red-haired dog", "the dog"], place, config)
    assert again.added == 1
    assert again.queries["a red-haired dog"].words == ("a", "red-haired", "dog")
    assert again.queries["the dog"].words == ("the", "dog")


@pytest.mark.parametrize(
    ("now", "then", "fits"),
    [
        ("glove.6B.50d 20 words, normalized", "glove.6B.50d 20 words, normalized", True),
        ("glove.6B.50d 20 words, normalized", "glove.6B.50d 20 words", True),
        ("glove.6B.50d 20 words, normalized", "glove.6B.50d 19 words", False),
        ("glove.6B.50d 20 words, normalized", "glove.6B.300d 20 words", False),
        ("glove.6B.50d 20 words, normalized", "glove.6B.50d 20 words, of a later kind", False),
        ("glove.6B.50d 20 words", "glove.6B.50d 20 words, normalized", False),
    ],
)
def test_which_encodings_stand_for_others(now: str, then: str, fits: bool) -> None:
    assert can_stand_for(now, then) is fits


def test_the_shipped_checkpoint_fits() -> None:
    settings = load_settings(SHIPPED)
    check_encoding(settings, SHIPPED)
    with pytest.raises(CheckpointError, match="learnt from the word vectors"):
        check_encoding(replace(settings, encoding="glove.6B.50d 7 words"), SHIPPED)


def test_an_encoding_is_named_after_its_file_s_content(tmp_path: Path, config: ExtractConfig) -> None:
    first = encoding_name(config)
    Path(config.vectors).write_text("dog 7 8\n")
    assert encoding_name(config) != first
    with pytest.raises(MissingInputError, match="no such word vectors"):
        encoding_name(ExtractConfig(vectors=str(tmp_path / "absent.txt")))


def test_a_file_of_vectors_may_have_any_name(tmp_path: Path, place: str, config: ExtractConfig) -> None:
    odd = tmp_path / "caf\udce9 \u2019.txt"
    odd.write_bytes(Path(config.vectors).read_bytes())
    config = ExtractConfig(vectors=str(odd))
    encoding_name(config).encode()
    assert ensure_queries(["dog"], place, config).added == 1
    assert ensure_queries(["dog"], place, config).added == 0
