"""Prefetching: a background thread produces the next items, so that decoding and the backbone run in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int) -> Generator[T]:
    """Yield items in order, with up to `depth` of them produced in advance by a background thread.

    An error of `items` is raised at its position in the sequence. If the generator is closed early, no items are
    produced beyond the one in progress.

    Args:
        items: the iterator to read from; it is used only in the background thread.
        depth: maximum number of items in advance, at least 1.
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc] # not the end marker
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
