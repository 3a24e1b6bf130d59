"""Atomic file writes, checks that a path is writable, and the user cache directory."""

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
"""Maximum number of symbolic links to follow in sequence, as in the Linux kernel."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context manager that yields a temporary path and moves it to `path` when the block succeeds.

    A regular file is replaced atomically; the new file keeps its mode and, where permitted, its owner. If `path` is a
    symbolic link, the link stays and the file it points to is replaced. If `path` is not a regular file (a pipe, a
    terminal, /dev/stdout), the content is copied into it instead. Concurrent writers of the same path write to separate
    temporary files; the last one to finish replaces the file with its complete content.

    Args:
        path: the file to write. Missing parent folders are created.

    Yields:
        The temporary path to write to.

    Raises:
        OutputError: the file cannot be written.
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
    """Return whether a path can be written into but not replaced: a pipe, a device, a socket or /dev/stdout.

    Args:
        path: any path; it does not have to exist.

    Raises:
        OSError: the path cannot be inspected.
    """
    if _own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_standard_output(path: Path) -> bool:
    """Return whether a path refers to this process's standard output, as /dev/stdout does."""
    return _own_descriptor(path) == 1


def _write_through(content: Path, path: Path) -> None:
    """Copy a file's bytes into a special file. It is not an error if the reader closes its end early."""
    number = _own_descriptor(path)
    # Duplicate an inherited descriptor instead of opening its path: opening a redirected file again would write from
    # its start.
    descriptor = os.dup(number) if number is not None else os.open(path, os.O_WRONLY | os.O_NOCTTY)
    with suppress(BrokenPipeError), content.open("rb") as source, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(source, out)


def _own_descriptor(path: Path) -> int | None:
    """Return the number of this process's open file that a path such as /dev/stdout or /dev/fd/3 refers to, or None."""
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
    """Return the regular file that a path resolves to through all links; it may not exist yet. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.stat()  # raises OSError if the links form a loop
    return Path(os.path.realpath(path))


def _keep_rights(partial: Path, target: Path) -> None:
    """Give a new file the mode of the file that it replaces, and the owner where permitted."""
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
    """Return the start of a file name (at most 60 bytes), so that a suffix fits within the name length limit."""
    return os.fsencode(name)[:60].decode("utf-8", "ignore")


def is_file(path: Path) -> bool:
    """Return whether a path is an existing file; False instead of an error if the path cannot be inspected."""
    try:
        return path.is_file()
    except OSError:  # the name is too long, or a folder is not accessible
        return False


def is_there(path: Path) -> bool:
    """Return whether a path exists; False instead of an error if the path cannot be inspected."""
    try:
        return path.exists()
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8.

    Args:
        path: the file to write.
        text: its new content.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(path: Path) -> None:
    """Check before long work that a file can be written.

    Args:
        path: the file that will be written.

    Raises:
        OutputError: the file cannot be written, or `path` is a folder.
    """
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
    """Check that files can be created in a folder; if the folder does not exist, in its nearest existing parent.

    Args:
        folder: the folder in which files will be created.
        shown_as: the path to show in error messages.

    Raises:
        OutputError: files cannot be created there.
        OSError: the folder cannot be inspected.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        # Create a temporary file: only an actual write reveals permissions, quotas and read-only file systems.
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OutputError(f"{shown_as}: {nearest} cannot be written ({error.strerror}); name another place") from error
    if nearest.is_dir():
        _check_lengths(folder, shown_as)


def _check_lengths(path: Path, shown_as: Path) -> None:
    """Raise OutputError if a part of the path, including folders not created yet, is too long for the file system."""
    nearest = next(place for place in path.absolute().parents if place.is_dir())
    most = os.pathconf(nearest, "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > most for part in path.parts):
        raise OutputError(f"{shown_as}: cannot be written (File name too long); name another place")


def _check_special(path: Path) -> None:
    """Check that a special file can be written into. Raises OutputError or OSError."""
    number = _own_descriptor(path)
    if number is not None:
        # A descriptor that this program opened itself is not inheritable: its number may have been closed and reused.
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
    """Return a path below $XDG_CACHE_HOME/gkcmn-pipe (default: ~/.cache/gkcmn-pipe) without creating it.

    Args:
        parts: names of subfolders, and optionally of a file.

    Raises:
        OutputError: the home folder is unknown and XDG_CACHE_HOME is not set.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification requires that a relative path is ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise OutputError("no home folder is known; set XDG_CACHE_HOME to a folder") from error
    return base.joinpath("gkcmn-pipe", *parts)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(place: str) -> str:
    """Return a path or URL for display, without user, password, query and fragment, which may contain credentials.

    Args:
        place: a path or URL.
    """
    if "://" not in place:
        return printable(place)
    try:
        parts = urlsplit(place)
    except ValueError:  # an invalid URL: the position of credentials in it is unknown
        return f"{printable(place.partition('://')[0])}://..."
    if not (parts.query or parts.fragment or "@" in parts.netloc):
        return printable(place)  # urllib would shorten "memory://" to "memory:"
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())


def absolute(place: str) -> str:
    """Return a path as an absolute path, and a URL unchanged.

    Args:
        place: a path or URL.
    """
    return place if "://" in place else str(Path(place).absolute())
