"""Queries as word vectors: spaCy splits the normalized query, and GloVe gives each word its vector."""

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
"""Characters of a query in a message."""


class QueryEncoder:
    """Turns queries into word vectors.

    Words are spaCy's English tokens of the normalized query that have a letter or a digit, at most `max_words`
    of them. A word is looked up as it is written, in lower case, without accents and in the singular. What is
    hyphenated stays one word if it has a vector. What is joined otherwise and has none is split at its
    punctuation, and between digits and letters. A word without a vector gets the mean of all vectors: the least
    informed guess that has the right scale.
    """

    def __init__(self, vectors: str, *, max_words: int) -> None:
        """Load `vectors`: a name such as "glove.6B.300d", or the path of a GloVe text file.

        Raises:
            WeightsError: they cannot be had or read.
            MissingInputError: there is no such file.
        """
        self.max_words = max_words
        self._table = load_vectors(vectors)
        self._found: dict[str, str | None] = {}
        # The tokenizer alone: a pipeline, even an empty one, refuses texts of over a million characters.
        tokenizer: Any = spacy.blank("en").tokenizer
        tokenizer.token_match = self._is_hyphenated_word
        self._tokenizer = tokenizer

    @property
    def dim(self) -> int:
        """Numbers in a word vector."""
        return int(self._table.dim)

    @cached_property
    def _mean(self) -> torch.Tensor:
        return self._table.vectors.mean(dim=0)

    def split(self, query: str) -> tuple[str, ...]:
        """All words of a query, normalized.

        Raises:
            QueryError: it has none.
        """
        words = tuple(self._words(normalize_query(query, self._is_known)))
        if not words:
            shown = query if len(query) <= _SHOWN else f"{query[:_SHOWN]}..."
            raise QueryError(f"query {shown!r}: it has no words; say what to look for")
        return words

    def __call__(self, query: str) -> EncodedQuery:
        """Encode one query. Raises QueryError if it has no words."""
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
                # "dog2" is two words if both are known.
                parts = _NUMBER_OR_LETTERS.findall(word)
                yield from parts if all(map(self._is_known, parts)) else [word]
            elif (apart := parted(word)) != word:
                if apart:
                    yield from self._words(apart)
            else:
                # An apostrophe is a letter, unless both sides are words without it.
                parts = [part for part in word.split("'") if part]
                yield from parts if all(map(self._is_known, parts)) else [word]

    def _is_known(self, word: str) -> bool:
        return self._spelling(word) is not None

    def _is_hyphenated_word(self, text: str) -> bool:
        """Whether spaCy is to keep a text as one token that it would split at its hyphens."""
        return "-" in text and _HYPHENATED.fullmatch(text) is not None and self._is_known(text)

    def _spelling(self, word: str) -> str | None:
        """The spelling under which `word` has a vector."""
        if word not in self._found:
            self._found[word] = next((form for form in spellings(word) if form in self._table.stoi), None)
        return self._found[word]
