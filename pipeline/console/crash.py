"""What a command says of an error that nobody expected, and the report that it writes.

A report is a text file: version, command line, packages, platform, traceback, and what libraries warned of. It lies in
the folder `crashes` of the cache, or in the folder of temporary files where that cannot be written. The newest
`MOST_REPORTS` are kept. Credentials in URLs are removed.
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
"""Of a traceback: chained errors and deep recursion have no limit of their own."""
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
"""What the machine lacks, whatever the command does, and the remedy."""


def one_line(text: str) -> str:
    """A message without line breaks or characters that a terminal obeys."""
    return printable(" ".join(text.split()))


def shortage(error: BaseException) -> str | None:
    """The line for an error that is the machine's and not a bug: no memory, no space, a broken disk. None for others.

    Args:
        error: as it was caught.
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
    """Write a report of an unexpected error, and return the one line that tells the user of it. Never raises.

    Args:
        error: as it was caught.
        command: arguments of the command line, without the program.
        notes: what libraries warned of before.
    """
    try:
        what = without_credentials(one_line(f"{type(error).__name__}: {_first_line(error)}")).removesuffix(":")
    except Exception:  # noqa: BLE001 - an error whose text cannot be made is reported by its type
        what = type(error).__name__
    try:
        path = write_report(report_text(error, command, notes))
    except Exception as failure:  # noqa: BLE001 - a report that fails must not hide what it reports
        reason = one_line(str(failure))[:500]
        rest = f"no report could be written ({reason}); run it again with --debug, and attach what it prints"
    else:
        rest = f"the traceback is in {path}; attach that file"
    return f"this is a bug in {PROGRAM} ({what[:500]}); {rest} to a bug report"


def report_text(error: BaseException, command: Sequence[str], notes: Iterable[str] = ()) -> str:
    """A report's content."""
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
    """Write a report into the first folder that takes it, and return its path.

    Raises:
        OSError: none does; the error is the last folder's.
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
    """A text in which every URL is shown without user, password and query."""
    return _URL.sub(lambda found: shown(found[0]), text)


def _write(folder: Path, text: str) -> Path:
    """Write a new file, which its owner alone can read. Nothing is left of one that cannot be written whole."""
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
    """Remove all but the newest reports; their names begin with the time. Others' may not be removed."""
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
    # torch raises its own for a GPU, and a plain RuntimeError for the CPU.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
