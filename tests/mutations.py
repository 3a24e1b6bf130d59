"""Mutated JSON documents, for tests that readers accept them or raise a one-line error."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

DEEP: Any = 0
for _ in range(50):
    DEEP = [DEEP]
BAD_VALUES: tuple[Any, ...] = (
    None, "", "x", "3", "\ud800", [], [1], {}, {"a": 1}, DEEP, True, -1, 0, 0.5, 10**12, 10**400, 1e308, float("inf"),
)  # fmt: skip


def mutations(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a JSON document with one value replaced or removed, each with a description of the change."""
    for path in _paths(content):
        for value in BAD_VALUES:
            yield f"{path} = {str(value)[:20]!a}", _replaced(content, path, value)
        if path:
            yield f"without {path}", _replaced(content, path, _replaced)


def _paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _paths(value, (*path, key))


def _replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(content)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is _replaced:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed
