"""Encode queries once and keep them in the feature store."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from extract.config import NAMED_VECTORS, PACKAGED_VECTORS, ExtractConfig
from extract.errors import MissingInputError
from extract.io.files import file_sha256, is_file
from extract.records import EncodedQuery
from extract.store.feature_store import FeatureStore
from extract.text.normalize import mended

_log = logging.getLogger(__name__)

_RULES = ", normalized"
"""Suffix of an encoding's name. Change it when the rules for splitting or looking up words change."""


@dataclass(frozen=True, kw_only=True)
class QueryReport:
    """Result of `ensure_queries`."""

    queries: dict[str, EncodedQuery]
    """All requested queries, by their text."""
    added: int
    """Number of queries that were missing from the store."""


def encoding_name(config: ExtractConfig) -> str:
    """Return a name for everything that determines a query's vectors.

    The name contains the vector table, the word limit and the normalization. A table given as a file is named by its
    file name and its content's hash.

    Raises:
        MissingInputError: the file of word vectors does not exist.
    """
    source = config.vectors
    if source != PACKAGED_VECTORS and not NAMED_VECTORS.fullmatch(source):
        path = Path(source)
        if not is_file(path):
            raise MissingInputError(f"{path}: no such word vectors; check extract.vectors")
        source = f"{mended(path.stem)}-{file_sha256(path)[:16]}"
    return f"{source} {config.max_words} words{_RULES}"


def can_stand_for(now: str, then: str) -> bool:
    """Return whether a model trained with the encoding `then` can use queries encoded as `now`.

    Encodings from before queries were normalized have names without the suffix `_RULES`. They are compatible, because
    normalization does not change the vectors of plain sentences; docs/decisions.md has the figures.

    Args:
        now: name of the current encoding, from `encoding_name`.
        then: name of the encoding that the model was trained with.
    """
    return now == then or now == then + _RULES


def ensure_queries(
    wanted: Iterable[str],
    place: str,
    config: ExtractConfig,
) -> QueryReport:
    """Return the encoded queries; encode those missing from the store and add them to it.

    spaCy and the word vectors are loaded only if a query is missing, so training also works where they are not
    installed. A warning lists words without a vector, and another counts new queries that were shortened.

    Args:
        wanted: texts of the queries.
        place: path or URL of the feature store.
        config: gives the word vectors and the word limit.

    Raises:
        QueryError: a query has no words.
        StoreError: the store does not exist, or cannot be read or written.
        MissingInputError: the file of word vectors does not exist.
        WeightsError: the word vectors cannot be loaded or downloaded.
    """
    # The store keeps strings as UTF-8, which cannot encode lone surrogates.
    kept = {query: mended(query) for query in wanted}
    encoding = encoding_name(config)
    held = FeatureStore.open(place).queries(encoding)
    missing = [query for query in dict.fromkeys(kept.values()) if query not in held]
    new: dict[str, EncodedQuery] = {}
    if missing:
        from extract.text.encoder import QueryEncoder

        encoder = QueryEncoder(config.vectors, max_words=config.max_words)
        for query in missing:
            new[query] = encoder(query)
        FeatureStore.open(place, writable=True).add_queries(encoding, new)
    queries = {query: new.get(text) or held[text] for query, text in kept.items()}
    if unknown := sorted({word for query in queries.values() for word in query.unknown}):
        shown = ", ".join(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
        _log.warning("no vector for %s; each gets the mean of all vectors", shown)
    if shortened := sum(query.dropped > 0 for query in new.values()):
        _log.warning("%d queries have over %d words; the rest is dropped", shortened, config.max_words)
    return QueryReport(queries=queries, added=len(new))
