"""Recursive folder traversal that follows symbolic links."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)
Identity = tuple[int, int]
"""Device and inode of a folder."""


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return all files below a folder that have one of the given suffixes, sorted; links to folders are followed.

    A link to one of its own parent folders is skipped. A folder that is reachable through two links is searched twice.
    A dangling link with a matching suffix is included, so that opening it reports the error. Other dangling links may
    have pointed to folders; a warning reports their number.

    Args:
        folder: the folder to search.
        suffixes: file name suffixes in lower case, with the leading dot. The case of a file's suffix is ignored.

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
    """Yield a folder and all folders below it, through links too; a link to one of its own parent folders is skipped.

    Args:
        folder: the folder to start from.
        enter: function that returns whether to descend into a folder of the given name.

    Raises:
        OSError: a folder cannot be read.
    """
    first = os.stat(folder)  # noqa: PTH116 - accepts a str as well as a Path
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
    except OSError:  # a link to itself, or into an inaccessible folder
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return True  # a link into an inaccessible folder: opening it reports the error


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)  # noqa: PTH110 - False for a loop of links
