"""Checks of a command's output paths before the command starts its work.

An output is rejected if it is one of the command's inputs, if two outputs are the same file, if it is inside a feature
store, if it cannot be written, or if it would overwrite something that this program did not write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from extract.errors import OutputError
from extract.io.files import check_folder_writable, check_writable, is_special
from extract.io.json_text import read_json_file

MADE_BY = "made by gkcmn-pipe"
"""Text in the metadata of videos and figures by which this program recognizes its own output."""
MOST_NAMES = 3
"""Maximum number of a folder's entries that a message lists."""

IsOurs = Callable[[Path], bool]
"""Function that returns whether this program wrote a file or folder, judged by its content. It may raise OSError or
ValueError."""


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that a command will write."""

    path: Path
    is_ours: IsOurs
    """Function that returns whether an existing file is an earlier output of the same kind, which may be replaced."""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A folder into which a command will write."""

    path: Path
    names: tuple[str, ...]
    """Names of the files that the command writes into the folder."""
    is_ours: IsOurs
    """Function that returns whether the folder is an earlier output of the same kind, whose content may be replaced."""
    is_ours_too: IsOurs
    """Function that returns whether the folder contains other outputs of this program, to which files may be added."""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.path / name for name in self.names)


Output = OutputFile | OutputFolder
Inputs = Mapping[str, Iterable[Path]]
"""Paths that a command reads, by a description such as "the source video". The iterables are consumed only if an output
path already exists, so they may be expensive to compute."""


def check_outputs(outputs: Sequence[Output], inputs: Inputs, *, force: bool) -> None:
    """Check before any work that all outputs can be written and that nothing is lost.

    Files are compared by device and inode, so hard links, symbolic links and different spellings of a path count as one
    file.

    Args:
        outputs: everything that the command will write.
        inputs: everything that the command reads.
        force: allow to overwrite files that this program did not write, and to add files to folders that it did not
            write. Inputs and feature stores are rejected regardless.

    Raises:
        OutputError: an output must not or cannot be written.
    """
    for output in outputs:
        check_outside_stores(output.path, itself=True)
        if isinstance(output, OutputFile):
            check_writable(output.path)
        else:
            _check_folder(output.path)
    _check_distinct(outputs)
    _check_not_read([file for output in outputs for file in output.files], inputs)
    if not force:
        for output in outputs:
            if isinstance(output, OutputFile):
                _check_file_is_ours(output)
            else:
                _check_folder_is_ours(output)


def check_outside_stores(path: Path, *, itself: bool) -> None:
    """Check that a path is not inside a feature store.

    Args:
        path: the path to check.
        itself: also reject the folder of a store.

    Raises:
        OutputError: the path is inside a feature store, or is one.
    """
    place = Path(os.path.realpath(path))
    for folder in ((place,) if itself else ()) + tuple(place.parents):
        if is_store(folder):
            raise OutputError(f"{path}: lies in the feature store {folder}; name a place outside it")


def is_store(folder: Path) -> bool:
    """Return whether a folder is a feature store, of any schema version and even if it is damaged.

    Args:
        folder: the folder to inspect; it does not have to exist.
    """
    try:
        content = read_json_file(folder / "zarr.json", has_paths=True)
    except (OSError, ValueError):
        return False
    attributes = content.get("attributes") if isinstance(content, dict) else None
    return isinstance(attributes, dict) and "schema_version" in attributes


def _check_folder(path: Path) -> None:
    try:
        if path.is_symlink() and not path.exists():
            raise OutputError(f"{path}: is a link that leads nowhere; make the folder, or name another")
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file; name a folder")
        check_folder_writable(Path(os.path.realpath(path)), path)
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        cause = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be looked at ({cause}); name another folder") from error


def _check_distinct(outputs: Sequence[Output]) -> None:
    """Raise OutputError if two outputs are the same file, or if one is a file that the other needs as a folder."""
    for one, other in combinations(outputs, 2):
        for file in one.files:
            for second in other.files:
                if _is_same(file, second):
                    raise OutputError(f"{file}: is named for two outputs; name two files")
        for above, below in ((one, other), (other, one)):
            place = Path(os.path.realpath(above.path))
            if isinstance(above, OutputFile) and place in Path(os.path.realpath(below.path)).parents:
                raise OutputError(f"{below.path}: lies in {above.path}, which will be a file; name another place")


def _check_not_read(files: Sequence[Path], inputs: Inputs) -> None:
    places = {identity: file for file in files if (identity := _identity(file)) is not None}
    if not places:
        return
    for what, paths in inputs.items():
        for path in paths:
            identity = _identity(path)
            if identity in places:
                raise OutputError(f"{places[identity]}: is {what} itself; name another place")


def _check_file_is_ours(output: OutputFile) -> None:
    path = output.path
    if is_special(path) or not path.exists() or path.stat().st_size == 0 or recognized(output.is_ours, path):
        return
    info = path.stat()
    date = datetime.fromtimestamp(info.st_mtime, tz=UTC)
    raise OutputError(
        f"{path}: a file of {info.st_size} bytes from {date:%Y-%m-%d} is there, and gkcmn-pipe did not write it as an "
        "output of this kind; name another file, or give --force"
    )


def _check_folder_is_ours(output: OutputFolder) -> None:
    path = output.path
    names = list(_content(path))
    if not names or recognized(output.is_ours, path):
        return
    if recognized(output.is_ours_too, path):
        names = [name for name in output.names if name in names]
        if not names:
            return
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    raise OutputError(
        f"{path}: holds {shown}, and gkcmn-pipe did not write that as an output of this kind; "
        "name another folder, or give --force"
    )


def _content(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, except temporary files of killed writers and folders without any file.

    Raises OutputError.
    """
    try:
        for item in sorted(folder.iterdir()) if folder.is_dir() else []:
            is_empty = item.is_dir() and not item.is_symlink() and not any(files for _, _, files in os.walk(item))
            if not is_empty and item.suffix != ".partial":
                yield item.name
    except OSError as error:
        raise OutputError(f"{folder}: cannot be looked at ({error.strerror}); name another folder") from error


def recognized(is_ours: IsOurs, path: Path) -> bool:
    """Return whether this program wrote a file or folder; False if it cannot be read.

    Args:
        is_ours: the function that inspects the content.
        path: the file or folder to inspect.
    """
    try:
        return is_ours(path)
    except (OSError, ValueError):
        return False


def _is_same(one: Path, other: Path) -> bool:
    identity = _identity(one)
    if identity is not None or _identity(other) is not None:
        return identity == _identity(other)
    return not _is_null(one) and os.path.realpath(one) == os.path.realpath(other)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file that a path resolves to; None if it does not exist or is /dev/null."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return None
    return None if _is_null(path) else (info.st_dev, info.st_ino)


def _is_null(path: Path) -> bool:
    try:
        return path.is_char_device() and path.stat().st_rdev == Path(os.devnull).stat().st_rdev
    except (OSError, ValueError):
        return False
