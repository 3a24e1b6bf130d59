"""Walks through folders that follow symbolic links."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)
Identity = tuple[int, int]
"""Device and inode of a folder."""


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below a folder whose suffix, in lower case, is one of `suffixes`, sorted; links to folders are followed.

    A link that leads back to a folder above it is left out. A folder that two links name is searched twice. A link
    with such a suffix that leads nowhere is in the result: whoever opens it says so. Other links that lead nowhere
    may stand for folders, so a warning counts them.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[Path] = []
    dangling: list[Path] = []
    for parent in folders_below(folder):
        with os.scandir(parent) as entries:
            for entry in entries:
                path = Path(parent, entry.name)
                is_wanted = path.suffix.lower() in suffixes
                if is_wanted and (_is_file(entry) or _is_dangling(entry)):
                    found.append(path)
                elif not is_wanted and _is_dangling(entry):
                    dangling.append(path)
    if dangling:
        _log.warning("%s: %d links in it lead nowhere and are left out, %s first", folder, len(dangling), min(dangling))
    return sorted(found)


def folders_below(folder: Path, *, enter: Callable[[str], bool] = lambda _: True) -> Iterator[Path]:
    """A folder and all below it, through links too; a link that leads back to a folder above it is left out.

    Args:
        folder: where to begin.
        enter: whether a folder of that name is wanted.

    Raises:
        OSError: a folder cannot be read.
    """
    first = os.stat(folder)  # noqa: PTH116 - of a Path or not alike
    todo: list[tuple[Path, frozenset[Identity]]] = [(folder, frozenset([_identity(first)]))]
    while todo:
        parent, above = todo.pop()
        yield parent
        with os.scandir(parent) as entries:
            below = sorted(entry.name for entry in entries if enter(entry.name) and _is_folder(entry))
        for name in reversed(below):
            path = parent / name
            identity = _identity(path.stat())
            if identity not in above:
                todo.append((path, above | {identity}))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a closed folder
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return True  # a link into a closed folder: whoever opens it says so


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)  # noqa: PTH110 - which a loop of links passes, too
