"""Files that are whole or not there, and the folder of what is kept between runs."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from extract.errors import GkcmnError, OutputError
from extract.names import printable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes `path`'s place when the block ends well.

    Each writer has a path of its own, so that two of them leave the one's file or the other's, whole.

    Raises:
        OutputError: the place cannot be written.
    """
    partial = path.with_name(f"{path.name[:60]}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if isinstance(error, GkcmnError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or name another place"
        ) from error
    finally:
        if partial.exists():
            partial.unlink()


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
    """Find out before long work whether its result can be written. Raises OutputError."""
    try:
        is_folder = path.is_dir()
        missing = next((folder for folder in path.absolute().parents if folder.exists()), path)
        is_open = missing.is_dir() and os.access(missing, os.W_OK)
    except OSError as error:
        raise OutputError(f"{path}: cannot be looked at ({error.strerror}); name another place") from error
    if is_folder:
        raise OutputError(f"{path}: is a folder; name a file")
    if not is_open:
        raise OutputError(f"{path}: {missing} cannot be written; name another place")


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
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())


def absolute(place: str) -> str:
    """A path as it is known everywhere on this machine; a URL as it is."""
    return place if "://" in place else str(Path(place).absolute())
