"""Query encoder: spaCy splits the normalized query into words, and GloVe maps each word to a vector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import spacy
import torch

from extract.errors import QueryError
from extract.records import EncodedQuery
from extract.text.normalize import normalize_query, parted
from extract.text.spelling import spellings
from extract.text.vectors import load_vectors

_HYPHENATED = re.compile(r"[^\W_]+(?:-[^\W_]+)+")
_NUMBER_OR_LETTERS = re.compile(r"\d+|\D+")
_SHOWN = 80
"""Maximum number of characters of a query in an error message."""


class QueryEncoder:
    """Encodes queries as word vectors.

    Words are spaCy's English tokens of the normalized query that contain a letter or a digit, at most `max_words` of
    them. Each word is looked up as written, in lower case, without accents and in the singular, in this order. A
    hyphenated word stays one word if it has a vector. Other compounds without a vector are split at punctuation and
    between digits and letters. A word without a vector gets the mean of all vectors, an uninformative value of the
    right scale.
    """

    def __init__(self, vectors: str, *, max_words: int) -> None:
        """Load the word vectors.

        Args:
            vectors: a name such as "glove.6B.300d", or the path of a GloVe text file.
            max_words: maximum number of words of a query; further words are dropped.

        Raises:
            WeightsError: the vectors cannot be downloaded or read.
            MissingInputError: the file does not exist.
        """
        self.max_words = max_words
        self._table = load_vectors(vectors)
        self._found: dict[str, str | None] = {}
        # Only the tokenizer is needed: a spaCy pipeline, even an empty one, rejects texts of over a million characters.
        tokenizer: Any = spacy.blank("en").tokenizer
        tokenizer.token_match = self._is_hyphenated_word
        self._tokenizer = tokenizer

    @property
    def dim(self) -> int:
        """Number of dimensions of a word vector."""
        return int(self._table.dim)

    @cached_property
    def _mean(self) -> torch.Tensor:
        return self._table.vectors.mean(dim=0)

    def split(self, query: str) -> tuple[str, ...]:
        """Return all words of a query after normalization, without the word limit.

        Args:
            query: any string.

        Raises:
            QueryError: the query has no words.
        """
        words = tuple(self._words(normalize_query(query, self._is_known)))
        if not words:
            shown = query if len(query) <= _SHOWN else f"{query[:_SHOWN]}..."
            raise QueryError(f"query {shown!r}: it has no words; say what to look for")
        return words

    def __call__(self, query: str) -> EncodedQuery:
        """Encode one query.

        Args:
            query: any string.

        Returns:
            The words, at most `max_words`, and their vectors: float32 (word, dim).

        Raises:
            QueryError: the query has no words.
        """
        words = self.split(query)
        kept = words[: self.max_words]
        known = [self._spelling(word) for word in kept]
        rows = [self._mean if word is None else self._table[word] for word in known]
        return EncodedQuery(
            words=kept,
            vectors=torch.stack(rows).numpy().astype(np.float32),
            unknown=tuple(word for word, found in zip(kept, known, strict=True) if found is None),
            dropped=len(words) - len(kept),
        )

    def _words(self, text: str) -> Iterator[str]:
        for token in self._tokenizer(text):
            word = token.text
            if any(map(str.isalnum, word)) and self._is_known(word):
                yield word
            elif word.isalnum():
                # "dog2" is split into two words if both have a vector.
                parts = _NUMBER_OR_LETTERS.findall(word)
                yield from parts if all(map(self._is_known, parts)) else [word]
            elif (apart := parted(word)) != word:
                if apart:
                    yield from self._words(apart)
            else:
                # An apostrophe counts as a letter, unless the parts on both sides of it have vectors.
                parts = [part for part in word.split("'") if part]
                yield from parts if all(map(self._is_known, parts)) else [word]

    def _is_known(self, word: str) -> bool:
        return self._spelling(word) is not None

    def _is_hyphenated_word(self, text: str) -> bool:
        """Return whether spaCy must keep as one token a text that it would otherwise split at its hyphens."""
        return "-" in text and _HYPHENATED.fullmatch(text) is not None and self._is_known(text)

    def _spelling(self, word: str) -> str | None:
        """Return the spelling under which the table has a vector for `word`, or None."""
        if word not in self._found:
            self._found[word] = next((form for form in spellings(word) if form in self._table.stoi), None)
        return self._found[word]
