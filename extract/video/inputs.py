"""Resolution of files, folders, globs and list files to videos and their keys."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.errors import MissingInputError
from extract.io.names import name_text
from extract.io.tree import files_below, folders_below
from extract.video.reader import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class VideoInput:
    """A video file and its key in a store."""

    path: Path
    """Path of the video file."""
    key: str
    """Name of the video in a store."""


def find_videos(paths: Iterable[str], *, root: Path | None = None) -> list[VideoInput]:
    """Resolve paths to videos: video files, folders (searched recursively, through links too), globs, and .txt lists.

    If a path exists, it is used as that file or folder; only a path that does not exist can be a glob.

    A key is the path relative to `root`. Without a root it is relative to the folder given in `paths`; for a file given
    directly it is the file name. Names that are not UTF-8 are encoded by `extract.io.names.name_text`. A file that is
    reachable by two paths through links has two keys.

    Args:
        paths: the paths to resolve.
        root: the folder that the keys are relative to.

    Returns:
        The videos, sorted by key.

    Raises:
        MissingInputError: a path does not exist, a folder contains no video, a video is outside the root, or two videos
            would have the same key. A missing video that a list names or that a link in a folder points to is not an
            error here; its extraction fails later, on its own.
    """
    found: dict[str, Path] = {}
    for path, base in (pair for text in paths for pair in _looked_at(text)):
        key = _key(path, base if root is None else root)
        if key is None:
            raise MissingInputError(f"{path}: lies outside --root {root}; name a folder above it")
        other = found.setdefault(key, path)
        if os.path.realpath(other) != os.path.realpath(path):
            raise MissingInputError(
                f"{path}: {other} would have the same key {key!r}; name a folder above both with --root"
            )
    return [VideoInput(path=path, key=key) for key, path in sorted(found.items())]


def _key(path: Path, folder: Path) -> str | None:
    """Return a path relative to a folder, as a key; None if it is not inside that folder."""
    pairs = ((_plain(path), _plain(folder)), (_resolved(path), Path(os.path.realpath(folder))))
    for inner, outer in pairs:
        if inner.is_relative_to(outer):
            return name_text(inner.relative_to(outer).as_posix())
    return None


def _plain(path: Path) -> Path:
    """Return an absolute path without `..`; symbolic links in it are kept."""
    if ".." not in path.parts:
        return path.absolute()
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - abspath removes `..`
    return plain if os.path.realpath(plain) == os.path.realpath(path) else _resolved(path)


def _resolved(path: Path) -> Path:
    """Return a path with its folder resolved; the last part of the path is kept, unless it is `..`."""
    return Path(os.path.realpath(path.parent), path.name) if path.name != ".." else Path(os.path.realpath(path))


def _looked_at(text: str) -> Iterator[tuple[Path, Path]]:
    if not text:
        raise MissingInputError("'': is empty; name a video, folder or list, or . for this folder")
    try:
        yield from _expand(Path(text), text)
    except MissingInputError:
        raise
    except (OSError, ValueError) as error:  # a NUL in the path raises ValueError
        told = (error.strerror, error.filename) if isinstance(error, OSError) else (error, None)
        raise MissingInputError(
            f"{told[1] or text}: cannot be looked at ({told[0]}); check the path and rights"
        ) from error


def _expand(path: Path, pattern: str, *, within: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Yield each video that a path refers to, with the folder that its key is relative to.

    Args:
        path: the path to resolve, from an argument or from a line of a list file.
        pattern: the same path as a glob; parts that the user did not write are escaped.
        within: the list file that contains the path, or None.
    """
    if path.is_dir():
        videos = files_below(path, VIDEO_SUFFIXES)
        if not videos:
            raise MissingInputError(f"{path}: no video in this folder; known are {' '.join(sorted(VIDEO_SUFFIXES))}")
        yield from ((video, path) for video in videos)
    elif path.is_file() and path.suffix.lower() == ".txt":
        if within is not None:
            raise MissingInputError(f"{within}: names another list, {path.name!r}; name videos and folders")
        yield from _listed(path)
    elif path.is_file():
        yield path, path.parent
    elif path.exists():
        raise MissingInputError(
            f"{path}: is neither a file nor a folder; save a list of paths as a .txt file, and a video as a file"
        )
    elif not os.path.lexists(path) and glob.has_magic(pattern) and (matches := _matches(pattern)):
        for match in matches:
            if match.suffix.lower() in VIDEO_SUFFIXES and not match.exists():
                yield match, match.parent  # a dangling link: its extraction fails later, as in a folder
            else:
                yield from _expand(match, glob.escape(str(match)), within=within)
    elif within is not None and path.suffix.lower() in VIDEO_SUFFIXES:
        yield path, path.parent  # one of possibly thousands: it fails later, and the others continue
    else:
        raise MissingInputError(f"{path}: no such file or folder; check the path")


def _listed(listing: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each video that a list file names. Paths are relative to the list, so it can be moved with the videos."""
    for line in _lines(listing):
        path = listing.parent / line
        try:
            yield from _expand(path, os.path.join(glob.escape(str(listing.parent)), line), within=listing)  # noqa: PTH118
        except OSError as error:
            if isinstance(error, MissingInputError) or path.suffix.lower() not in VIDEO_SUFFIXES:
                raise
            yield path, path.parent  # the name is too long, or the folder is not accessible: it fails later


def _lines(listing: Path) -> list[str]:
    """Return the paths in a list file, one per line. Raises MissingInputError."""
    try:
        content = listing.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as written by PowerShell
            content = content.decode("utf-16").encode()
    except (OSError, UnicodeError) as error:
        raise MissingInputError(f"{listing}: not a list of paths ({error}); write one path a line") from error
    lines = []
    # Split only at line feeds: other line separators, and bytes that are not UTF-8, can be part of file names.
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if b"\0" in line:
            raise MissingInputError(f"{listing}: line {number} holds a NUL; write one path a line")
        if (name := _line_name(os.fsdecode(line.removesuffix(b"\r")), listing.parent)) is not None:
            lines.append(name)
    if not lines:
        raise MissingInputError(f"{listing}: names no video; write one path a line")
    return lines


def _line_name(line: str, folder: Path) -> str | None:
    """Return the path in a line; None if the line is blank or a comment.

    Leading and trailing spaces, and a leading #, belong to the path if a file of that name exists.
    """
    stripped = line.strip()
    if not stripped:
        return None
    if line != stripped and os.path.lexists(folder / line):
        return line
    return None if stripped.startswith("#") and not os.path.lexists(folder / stripped) else stripped


def _matches(pattern: str) -> list[Path]:
    """Return the paths that match a glob, sorted.

    `**` follows links, except links to their own parent folders. A glob that ends with `**` matches the folder before
    it, which is then searched recursively.
    """
    before, stars, after = _parted(pattern)
    if not stars:
        return [Path(match) for match in sorted(glob.glob(pattern))]
    found: dict[Path, None] = {}
    for folder in (Path(match) for match in (glob.glob(before) if before else ["."])):
        if not folder.is_dir():
            continue
        if not after:
            found[folder] = None
            continue
        for inner in folders_below(folder, enter=lambda name: not name.startswith(".")):
            found |= dict.fromkeys(_matches(os.path.join(glob.escape(str(inner)), after)))  # noqa: PTH118
    return sorted(found)


def _parted(pattern: str) -> tuple[str, bool, str]:
    """Return the part of a glob before its first `**`, whether there is a `**`, and the part after it."""
    parts = pattern.split("/")
    if "**" not in parts:
        return pattern, False, ""
    place = parts.index("**")
    before = "/".join(parts[:place])
    after = [part for part in parts[place + 1 :] if part]
    while after[:1] == ["**"]:  # consecutive `**` are equivalent to one
        after = after[1:]
    return before or ("/" if place else ""), True, "/".join(after)
