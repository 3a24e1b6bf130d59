"""Which videos a list of files, folders, globs and text files names, and under which keys."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.errors import MissingInputError
from extract.video import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class VideoInput:
    """A video and the key under which a store holds it."""

    path: Path
    key: str


def find_videos(paths: Iterable[str], *, root: Path | None = None) -> list[VideoInput]:
    """Resolve `paths`: video files, folders (searched whole), globs, and .txt files of one path a line.

    A key is the path relative to `root`; without a root, relative to the folder that was named, or the
    bare name of a file that was named itself.

    Raises:
        MissingInputError: a path is not there (a video that a list names may be absent: it fails later, alone), a
            folder holds no video, a video lies outside the root, a name is not UTF-8, or two would get one key.
    """
    found: dict[str, Path] = {}
    for path, base in (pair for text in paths for pair in _looked_at(text)):
        try:
            key = path.absolute().relative_to((root or base).absolute()).as_posix()
        except ValueError:
            raise MissingInputError(f"{path}: lies outside --root {root}; name a folder above it") from None
        try:
            key.encode()
        except UnicodeEncodeError:
            raise MissingInputError(f"{str(path)!a}: its name is not UTF-8; rename it") from None
        other = found.setdefault(key, path)
        if os.path.realpath(other) != os.path.realpath(path):
            raise MissingInputError(
                f"{path}: {other} would have the same key {key!r}; name a folder above both with --root"
            )
    return [VideoInput(path=path, key=key) for key, path in sorted(found.items())]


def _looked_at(text: str) -> Iterator[tuple[Path, Path]]:
    try:
        yield from _expand(text)
    except MissingInputError:
        raise
    except OSError as error:
        raise MissingInputError(
            f"{error.filename or text}: cannot be looked at ({error.strerror}); check the path and rights"
        ) from error


def _expand(text: str, *, within: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Each video that one argument, or one line of the list `within`, names; and the folder its key is relative to."""
    path = Path(text)
    if path.is_dir():
        videos = sorted(file for file in _files(path) if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
        if not videos:
            raise MissingInputError(f"{path}: no video in this folder; known are {' '.join(sorted(VIDEO_SUFFIXES))}")
        yield from ((video, path) for video in videos)
    elif path.is_file() and path.suffix.lower() == ".txt":
        if within is not None:
            raise MissingInputError(f"{within}: names another list, {path.name!r}; name videos and folders")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise MissingInputError(f"{path}: not a list of paths ({error}); write one path a line") from error
        if not lines:
            raise MissingInputError(f"{path}: names no video; write one path a line")
        for line in lines:
            # Paths in a list are relative to the list, so that it can be moved with the videos.
            yield from _expand(str(path.parent / line), within=path)
    elif path.is_file():
        yield path, path.parent
    elif glob.has_magic(text) and (matches := sorted(glob.glob(text, recursive=True))):
        for match in matches:
            yield from _expand(match, within=within)
    elif within is not None and path.suffix.lower() in VIDEO_SUFFIXES and not path.exists():
        yield path, path.parent  # one of thousands: it fails by itself, and the others go on
    else:
        raise MissingInputError(f"{text}: no such file or folder; check the path")


def _files(folder: Path) -> Iterator[Path]:
    """All below a folder, not through links to others. Raises OSError where one may not be read."""

    def fail(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        yield from (Path(parent, name) for name in names)
