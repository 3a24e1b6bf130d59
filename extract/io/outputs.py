"""The places that a command writes to, checked before it begins to work.

An output is refused where it is one of the command's inputs, where two outputs are one file, where it lies in a feature
store, where it cannot be written, and where something lies that this program did not write.
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
"""Stands in the metadata of videos and figures, by which they are recognized."""
MOST_NAMES = 3
"""Names of a folder's content that a message gives."""

IsOurs = Callable[[Path], bool]
"""Whether a file or folder was written by this program, as its content shows. It may raise OSError or ValueError."""


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that a command is going to write."""

    path: Path
    is_ours: IsOurs
    """Whether what lies there is an earlier output of the same kind, which may be replaced."""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A folder into which a command is going to write."""

    path: Path
    names: tuple[str, ...]
    """Of what is written there."""
    is_ours: IsOurs
    """Whether the folder is an earlier output of the same kind, whose content may be replaced."""
    is_ours_too: IsOurs
    """Whether it holds other outputs of this program, beside which new files may be written."""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.path / name for name in self.names)


Output = OutputFile | OutputFolder
Inputs = Mapping[str, Iterable[Path]]
"""Paths that a command reads, by what they are to it, as "the source video". An iterable is run through only if
something lies where an output will be, so it may be costly."""


def check_outputs(outputs: Sequence[Output], inputs: Inputs, *, force: bool) -> None:
    """Find out before any work whether all outputs may be written and lose nothing.

    Files are compared by device and inode, so links of both kinds and all spellings of a path count as one file.

    Args:
        outputs: all that the command is going to write.
        inputs: all that it reads.
        force: write over and beside what this program did not write. Inputs and stores are refused all the same.

    Raises:
        OutputError: one of them may not be written.
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
    """Refuse a place within a feature store, and with `itself` the store's own folder. Raises OutputError."""
    place = Path(os.path.realpath(path))
    for folder in ((place,) if itself else ()) + tuple(place.parents):
        if is_store(folder):
            raise OutputError(f"{path}: lies in the feature store {folder}; name a place outside it")


def is_store(folder: Path) -> bool:
    """Whether a folder is a feature store, of whatever version and whether it is sound or not."""
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
    """Refuse two outputs that are one file, or of which one would have to be the other's folder."""
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
    """Names in a folder, without what killed writers left and without folders that hold no file.

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
    """Return whether this program wrote a file or folder; one that cannot be read does not count."""
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
    """Device and inode of what a path leads to; None where nothing lies, and of /dev/null, which holds nothing."""
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
