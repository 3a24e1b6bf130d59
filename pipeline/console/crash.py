"""Messages and crash reports for unexpected errors.

A report is a text file with the version, command line, packages, platform, traceback and warnings of libraries. It is
written to the folder `crashes` of the user cache or, if that is not writable, to the folder for temporary files. Only
the newest `MOST_REPORTS` reports are kept. Credentials in URLs are removed.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from extract.io.files import cache_folder, shown
from extract.io.names import printable

PROGRAM = "gkcmn-pipe"
PACKAGES = ("av", "click", "dask", "decord2", "numpy", "pyarrow", "safetensors", "spacy", "torch", "zarr")
MOST_REPORTS = 20
MOST_CHARACTERS = 200_000
"""Maximum length of the traceback and of the command line in a report. Chained errors and deep recursion can make a
traceback arbitrarily long."""
PREFIX = f"{PROGRAM}-crash-"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s'\"<>]+")
_SYSTEM = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
    errno.EIO: "check the disk",
    errno.EROFS: "name another place",
    errno.ESTALE: "mount the network drive again",
}
"""Advice by error number, for errors that are caused by the machine and not by the program."""


def one_line(text: str) -> str:
    """Return a message without line breaks and with control characters escaped."""
    return printable(" ".join(text.split()))


def shortage(error: BaseException) -> str | None:
    """Return a message for an error that the machine causes, such as too little memory or disk space.

    Args:
        error: the exception.

    Returns:
        One line with the cause and advice; None for any other error.
    """
    if _is_out_of_memory(error):
        return (
            f"memory: there is not enough ({_first_line(error) or 'an allocation failed'}); close other programs, or "
            "lower extract.batch_clips, train.batch_size or --workers"
        )
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the system"
        return without_credentials(one_line(f"{place}: {error.strerror}; {_SYSTEM[error.errno]}"))
    return None


def crash_line(error: BaseException, command: Sequence[str], notes: Iterable[str] = ()) -> str:
    """Write a report of an unexpected error, and return a one-line message for the user. Never raises.

    Args:
        error: the exception.
        command: arguments of the command line, without the program's name.
        notes: earlier warnings and log records of libraries.
    """
    try:
        what = without_credentials(one_line(f"{type(error).__name__}: {_first_line(error)}")).removesuffix(":")
    except Exception:  # noqa: BLE001 - if str() of the error fails, report its type
        what = type(error).__name__
    try:
        path = write_report(report_text(error, command, notes))
    except Exception as failure:  # noqa: BLE001 - a failing report must not hide the original error
        reason = one_line(str(failure))[:500]
        rest = f"no report could be written ({reason}); run it again with --debug, and attach what it prints"
    else:
        rest = f"the traceback is in {path}; attach that file"
    return f"this is a bug in {PROGRAM} ({what[:500]}); {rest} to a bug report"


def report_text(error: BaseException, command: Sequence[str], notes: Iterable[str] = ()) -> str:
    """Return the text of a report. The arguments are those of `crash_line`."""
    lines = [
        f"{PROGRAM} ended in an error that it did not expect. Attach this file to a bug report.",
        "",
        f"time      {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"version   {_version(PROGRAM)}",
        f"command   {shlex.join([PROGRAM, *command])[:MOST_CHARACTERS]}",
        f"python    {platform.python_implementation()} {platform.python_version()}",
        f"platform  {platform.platform()}",
        "packages  " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "",
        _traceback(error),
    ]
    if kept := list(notes):
        lines += ["Warnings and log records of libraries:", *kept]
    return without_credentials("\n".join(lines) + "\n")


def write_report(text: str) -> Path:
    """Write a report to the user cache or, if that fails, to the folder for temporary files; return its path.

    Args:
        text: text of the report.

    Raises:
        OSError: both folders cannot be written; the error is that of the second.
    """
    failure: OSError | None = None
    for is_cache in (True, False):
        try:
            folder = cache_folder("crashes") if is_cache else Path(tempfile.gettempdir())
            folder.mkdir(parents=True, exist_ok=True)
            path = _write(folder, text)
        except OSError as error:
            failure = error
            continue
        _drop_old(folder)
        return path
    assert failure is not None
    raise failure


def without_credentials(text: str) -> str:
    """Return a text with user, password and query removed from every URL."""
    return _URL.sub(lambda found: shown(found[0]), text)


def _write(folder: Path, text: str) -> Path:
    """Write a new file that only its owner can read, and remove it if writing fails."""
    begun = datetime.now(UTC)
    handle, name = tempfile.mkstemp(prefix=f"{PREFIX}{begun:%Y%m%d-%H%M%S-%f}-", suffix=".txt", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        path.unlink()
        raise
    return path


def _drop_old(folder: Path) -> None:
    """Remove all but the newest reports, whose names contain the time. Skip reports that cannot be removed.

    In a shared temporary folder some reports may belong to other users.
    """
    with suppress(OSError):
        for path in sorted(folder.glob(f"{PREFIX}*.txt"))[:-MOST_REPORTS]:
            with suppress(OSError):
                path.unlink()


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text


def _first_line(error: BaseException) -> str:
    return (str(error)[:5000].strip().splitlines() or [""])[0]


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    # torch raises OutOfMemoryError for a GPU and a plain RuntimeError for the CPU.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
