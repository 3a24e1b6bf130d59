"""Process-wide setup of a command: handling of SIGTERM, and of warnings and log records of libraries."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MOST_NOTES = 100
"""Number of library messages, the newest ones, that are kept for a crash report."""


class Terminated(KeyboardInterrupt):
    """Raised when SIGTERM arrives; a KeyboardInterrupt, so that the same code cleans up as after Ctrl-C."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the block when SIGTERM arrives; a second SIGTERM ends the process at once.

    Does nothing outside the main thread, or if SIGTERM is already ignored or handled.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    arrived = False

    def end(*_: object) -> None:
        nonlocal arrived
        arrived = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception as error:
        if arrived:  # a library converted Terminated, or a child process died of the same signal
            raise Terminated from error
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Notes(logging.Handler):
    """Collects warnings and log records of libraries, which would otherwise clutter the command's output on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=MOST_NOTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record as one string to `lines`."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the arguments of the record do not match its format
            text = str(record.msg)
        self.lines.append(f"{record.levelname} {record.name}: {text}")


@contextmanager
def noted() -> Iterator[Notes]:
    """Collect warnings and log records of libraries instead of printing them while the block runs.

    Warnings are still printed if the user requested them with -W or PYTHONWARNINGS.
    """
    notes, root = Notes(), logging.getLogger()
    root.addHandler(notes)
    if not sys.warnoptions:
        logging.captureWarnings(True)
    try:
        yield notes
    finally:
        logging.captureWarnings(False)
        root.removeHandler(notes)
