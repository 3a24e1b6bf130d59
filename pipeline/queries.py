"""Queries in the store: encoded once, read ever after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from extract.config import ExtractConfig
from extract.records import EncodedQuery
from extract.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class QueryReport:
    """What encoding a set of queries came to."""

    queries: dict[str, EncodedQuery]
    """All that were asked for."""
    added: int
    """Those that the store lacked."""
    unknown: tuple[str, ...]
    """Words without a vector, sorted."""
    shortened: int
    """New queries that had more words than are kept."""


def ensure_queries(
    wanted: Iterable[str],
    place: str,
    config: ExtractConfig,
) -> QueryReport:
    """Have the store at `place` hold all of `wanted`, and return them.

    spaCy and the vectors are loaded only if a query is missing, so that training runs where they are not.

    Raises:
        QueryError: a query has no words.
        StoreError: there is no store.
        WeightsError: the word vectors cannot be had.
    """
    wanted = list(dict.fromkeys(wanted))
    held = FeatureStore.open(place).queries(config.vectors)
    missing = [query for query in wanted if query not in held]
    new: dict[str, EncodedQuery] = {}
    if missing:
        from extract.text import QueryEncoder

        encoder = QueryEncoder(config.vectors, max_words=config.max_words)
        for query in missing:
            new[query] = encoder(query)
        FeatureStore.open(place, writable=True).add_queries(config.vectors, new)
    queries = {query: new.get(query) or held[query] for query in wanted}
    return QueryReport(
        queries=queries,
        added=len(new),
        unknown=tuple(sorted({word for query in queries.values() for word in query.unknown})),
        shortened=sum(query.dropped > 0 for query in new.values()),
    )
