"""Which videos a list of files, folders, globs and text files names, and under which keys."""

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
    """A video and the key under which a store holds it."""

    path: Path
    key: str


def find_videos(paths: Iterable[str], *, root: Path | None = None) -> list[VideoInput]:
    """Resolve `paths`: video files, folders (searched whole, through links too), globs, and .txt files of paths.

    A path that exists is that file or folder; only one that does not exist may be a glob.

    A key is the path relative to `root`; without a root, relative to the folder that was named, or the
    bare name of a file that was named itself. See `extract.io.names.name_text` for names that are not UTF-8. A file
    that links make reachable by two paths has two keys.

    Raises:
        MissingInputError: a path is not there (a video that a list names, or a link in a folder leads to, may be
            absent: it fails later, alone), a folder holds no video, a video lies outside the root, or two videos
            would get one key.
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
    """A path relative to a folder; None if it does not lie there."""
    pairs = ((_plain(path), _plain(folder)), (_resolved(path), Path(os.path.realpath(folder))))
    for inner, outer in pairs:
        if inner.is_relative_to(outer):
            return name_text(inner.relative_to(outer).as_posix())
    return None


def _plain(path: Path) -> Path:
    """A path from / without `..`; links in it stay."""
    if ".." not in path.parts:
        return path.absolute()
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - which takes `..` away
    return plain if os.path.realpath(plain) == os.path.realpath(path) else _resolved(path)


def _resolved(path: Path) -> Path:
    """A path whose folder is resolved; its own name stays."""
    return Path(os.path.realpath(path.parent), path.name) if path.name != ".." else Path(os.path.realpath(path))


def _looked_at(text: str) -> Iterator[tuple[Path, Path]]:
    if not text:
        raise MissingInputError("'': is empty; name a video, folder or list, or . for this folder")
    try:
        yield from _expand(Path(text), text)
    except MissingInputError:
        raise
    except (OSError, ValueError) as error:  # a NUL is a ValueError
        told = (error.strerror, error.filename) if isinstance(error, OSError) else (error, None)
        raise MissingInputError(
            f"{told[1] or text}: cannot be looked at ({told[0]}); check the path and rights"
        ) from error


def _expand(path: Path, pattern: str, *, within: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Each video that one argument, or one line of the list `within`, names; and the folder its key is relative to.

    `pattern` is the same path as a glob, whose parts that no user wrote are escaped.
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
                yield match, match.parent  # a link that leads nowhere: as in a folder, it fails by itself
            else:
                yield from _expand(match, glob.escape(str(match)), within=within)
    elif within is not None and path.suffix.lower() in VIDEO_SUFFIXES:
        yield path, path.parent  # one of thousands: it fails by itself, and the others go on
    else:
        raise MissingInputError(f"{path}: no such file or folder; check the path")


def _listed(listing: Path) -> Iterator[tuple[Path, Path]]:
    """Each video that a list names. Its paths are relative to it, so that it can be moved with the videos."""
    for line in _lines(listing):
        path = listing.parent / line
        try:
            yield from _expand(path, os.path.join(glob.escape(str(listing.parent)), line), within=listing)  # noqa: PTH118
        except OSError as error:
            if isinstance(error, MissingInputError) or path.suffix.lower() not in VIDEO_SUFFIXES:
                raise
            yield path, path.parent  # its name is too long, or its folder closed: it fails by itself


def _lines(listing: Path) -> list[str]:
    """The paths that a list names, each as a line has it. Raises MissingInputError."""
    try:
        content = listing.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes
            content = content.decode("utf-16").encode()
    except (OSError, UnicodeError) as error:
        raise MissingInputError(f"{listing}: not a list of paths ({error}); write one path a line") from error
    lines = []
    # Other line separators may be parts of names, and so may bytes that are not UTF-8.
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if b"\0" in line:
            raise MissingInputError(f"{listing}: line {number} holds a NUL; write one path a line")
        if (name := _line_name(os.fsdecode(line.removesuffix(b"\r")), listing.parent)) is not None:
            lines.append(name)
    if not lines:
        raise MissingInputError(f"{listing}: names no video; write one path a line")
    return lines


def _line_name(line: str, folder: Path) -> str | None:
    """What a line names; None if it is blank or a comment. Spaces at its ends and a # are a name's where it exists."""
    stripped = line.strip()
    if not stripped:
        return None
    if line != stripped and os.path.lexists(folder / line):
        return line
    return None if stripped.startswith("#") and not os.path.lexists(folder / stripped) else stripped


def _matches(pattern: str) -> list[Path]:
    """What a glob matches, sorted; `**` follows links, but not those that lead back to a folder above them.

    A glob that ends with `**` matches the folder before it, which is searched whole.
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
    """A glob before its first `**`, whether it has one, and what follows."""
    parts = pattern.split("/")
    if "**" not in parts:
        return pattern, False, ""
    place = parts.index("**")
    before = "/".join(parts[:place])
    after = [part for part in parts[place + 1 :] if part]
    while after[:1] == ["**"]:  # two in a row are one
        after = after[1:]
    return before or ("/" if place else ""), True, "/".join(after)
