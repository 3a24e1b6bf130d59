"""Files that are whole or not there, and the folder of what is kept between runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from urllib.parse import urlsplit

from extract.errors import GkcmnError, OutputError
from extract.io.names import printable

MOST_LINKS = 40
"""Symbolic links that are followed one after the other, as the kernel does."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, whose content becomes that of `path` when the block ends well.

    A regular file is replaced in one step and keeps its mode and owner. A symbolic link stays, and the file that it
    leads to is replaced. What is no regular file (a pipe, a terminal, /dev/stdout) has the content written into it.
    Two writers of one path each write a file of their own; the last one to end wins, whole.

    Raises:
        OutputError: the place cannot be written.
    """
    try:
        if is_special(path):
            with TemporaryDirectory(prefix="gkcmn-") as folder:
                content = Path(folder, "content")
                yield content
                _write_through(content, path)
            return
        target = _target(path)
        partial = target.with_name(f"{_shortened(target.name)}.{secrets.token_hex(4)}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            _keep_rights(partial, target)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, GkcmnError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or name another place"
        ) from error


def is_special(path: Path) -> bool:
    """Whether a path leads to what can be written into but not replaced: a pipe, a device, a socket, /dev/stdout.

    Raises OSError where the path cannot be looked at.
    """
    if _own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_standard_output(path: Path) -> bool:
    """Whether a path names this process's standard output, as /dev/stdout does."""
    return _own_descriptor(path) == 1


def _write_through(content: Path, path: Path) -> None:
    """Copy a file's bytes into a special file. A reader that leaves early has had what it wanted."""
    number = _own_descriptor(path)
    # Opened by its own path, a redirected file would be written from its beginning on again.
    descriptor = os.dup(number) if number is not None else os.open(path, os.O_WRONLY | os.O_NOCTTY)
    with suppress(BrokenPipeError), content.open("rb") as source, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(source, out)


def _own_descriptor(path: Path) -> int | None:
    """The number of this process's open file that a path such as /dev/stdout or /dev/fd/3 names."""
    own = re.compile(rf"/proc/{os.getpid()}(/task/\d+)?/fd")
    place = path.absolute()
    for _ in range(MOST_LINKS):
        folder = Path(os.path.realpath(place.parent))
        if own.fullmatch(str(folder)) and place.name.isdigit():
            return int(place.name)
        place = folder / place.name
        if not place.is_symlink():
            return None
        place = folder / place.readlink()
    return None


def _target(path: Path) -> Path:
    """The regular file that a path leads to, through all links; it may not be there yet. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.stat()  # of links that lead in a circle this says so
    return Path(os.path.realpath(path))


def _keep_rights(partial: Path, target: Path) -> None:
    """Give a new file the mode of the one that it replaces, and its owner where that is allowed."""
    try:
        before = target.stat()
    except FileNotFoundError:
        return
    now = partial.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with suppress(PermissionError):
            os.chown(partial, before.st_uid, before.st_gid)
    partial.chmod(stat.S_IMODE(before.st_mode))


def _shortened(name: str) -> str:
    """The beginning of a file's name, short enough for a suffix to fit behind it."""
    return os.fsencode(name)[:60].decode("utf-8", "ignore")


def is_file(path: Path) -> bool:
    """Whether a file lies there, as far as can be seen: no path raises an error."""
    try:
        return path.is_file()
    except OSError:  # its name is too long, or a folder is closed
        return False


def is_there(path: Path) -> bool:
    """Whether anything lies there, as far as can be seen: no path raises an error."""
    try:
        return path.exists()
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none. Raises OutputError."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(path: Path) -> None:
    """Find out before long work whether a file can be written. Raises OutputError."""
    try:
        if is_special(path):
            _check_special(path)
            return
        target = _target(path)
        if target.is_dir():
            raise OutputError(f"{path}: is a folder; name a file")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(f"{path}: cannot be written (it is read-only); name another place")
        check_folder_writable(target.parent, path)
        _check_lengths(target, path)
    except (OSError, ValueError) as error:
        if isinstance(error, GkcmnError):
            raise
        cause = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be looked at ({cause}); name another place") from error


def check_folder_writable(folder: Path, shown_as: Path) -> None:
    """Find out whether files can be made in a folder, or the folder itself where it is not there.

    Args:
        folder: where files will be made.
        shown_as: the path that messages name.

    Raises:
        OutputError: files cannot be made there.
        OSError: the folder cannot be looked at.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        # Rights, quotas and read-only file systems are all known only to one who tries.
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OutputError(f"{shown_as}: {nearest} cannot be written ({error.strerror}); name another place") from error
    if nearest.is_dir():
        _check_lengths(folder, shown_as)


def _check_lengths(path: Path, shown_as: Path) -> None:
    """Refuse names that the file system cannot hold, in folders that are yet to be made too. Raises OutputError."""
    nearest = next(place for place in path.absolute().parents if place.is_dir())
    most = os.pathconf(nearest, "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > most for part in path.parts):
        raise OutputError(f"{shown_as}: cannot be written (File name too long); name another place")


def _check_special(path: Path) -> None:
    """Refuse what cannot be written into. Raises OutputError or OSError."""
    number = _own_descriptor(path)
    if number is not None:
        # Files that this program opened for itself are not inherited: a number that was closed may name one now.
        if not os.get_inheritable(number) or fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OutputError(f"{path}: is not open for writing; name a file")
        return
    mode = path.stat().st_mode
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        what = "a socket" if stat.S_ISSOCK(mode) else "a disk"
        raise OutputError(f"{path}: is {what}; name a file")
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path}: cannot be written (Permission denied); name another place")


def cache_folder(*parts: str) -> Path:
    """A folder below $XDG_CACHE_HOME/gkcmn-pipe (~/.cache/gkcmn-pipe); not made here.

    Raises:
        OutputError: no home folder is known.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # what the convention asks for: a relative path is ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise OutputError("no home folder is known; set XDG_CACHE_HOME to a folder") from error
    return base.joinpath("gkcmn-pipe", *parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's whole content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(place: str) -> str:
    """A path or URL as it may be printed: without user, password or query, which may be credentials."""
    if "://" not in place:
        return printable(place)
    try:
        parts = urlsplit(place)
    except ValueError:  # no valid URL: where credentials stand in it cannot be told
        return f"{printable(place.partition('://')[0])}://..."
    if not (parts.query or parts.fragment or "@" in parts.netloc):
        return printable(place)  # of "memory://" urllib would make "memory:"
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())


def absolute(place: str) -> str:
    """A path as it is known everywhere on this machine; a URL as it is."""
    return place if "://" in place else str(Path(place).absolute())
