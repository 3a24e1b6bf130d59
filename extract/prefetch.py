"""The next items are made while this one is used: decoding beside the backbone."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int) -> Generator[T]:
    """Yield `items` in order, up to `depth` of them made before they are asked for, by one thread.

    An error of `items` is raised in its place. Closed early, it makes none beyond the one at work.
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc] # it is not the end
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
