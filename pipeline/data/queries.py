"""Queries in the store: encoded once, read ever after."""

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
"""Ends an encoding's name. Another rule for splitting or looking up words needs another name here."""


@dataclass(frozen=True, kw_only=True)
class QueryReport:
    """What encoding a set of queries came to."""

    queries: dict[str, EncodedQuery]
    """All that were asked for."""
    added: int
    """Those that the store lacked."""


def encoding_name(config: ExtractConfig) -> str:
    """Name what decides a query's vectors: the table, a file by its content, how many words are kept, and the rules.

    Raises:
        MissingInputError: there is no such file.
    """
    source = config.vectors
    if source != PACKAGED_VECTORS and not NAMED_VECTORS.fullmatch(source):
        path = Path(source)
        if not is_file(path):
            raise MissingInputError(f"{path}: no such word vectors; check extract.vectors")
        source = f"{mended(path.stem)}-{file_sha256(path)[:16]}"
    return f"{source} {config.max_words} words{_RULES}"


def can_stand_for(now: str, then: str) -> bool:
    """Whether a run that learnt from the encoding `then` can read queries encoded as `now`.

    Names had no rules before queries were normalized. Plain sentences kept their vectors: docs/decisions.md
    has the figures.
    """
    return now == then or now == then + _RULES


def ensure_queries(
    wanted: Iterable[str],
    place: str,
    config: ExtractConfig,
) -> QueryReport:
    """Have the store at `place` hold all of `wanted`, and return them.

    spaCy and the vectors are loaded only if a query is missing, so that training runs where they are not.
    Words without a vector are warned of, and new queries that are too long.

    Raises:
        QueryError: a query has no words.
        StoreError: there is no store.
        WeightsError: the word vectors cannot be had.
    """
    # A store's strings are UTF-8, which cannot hold every string of Python's.
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
