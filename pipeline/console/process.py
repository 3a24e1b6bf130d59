"""The process of one command: how it takes SIGTERM, and where the messages of libraries go."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MOST_NOTES = 100
"""Messages of libraries that are kept for a crash report: the last ones."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. Everything that cleans up after Ctrl-C cleans up after this too."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the block when SIGTERM arrives; a second SIGTERM ends the process at once.

    Nothing changes outside the main thread, or where SIGTERM is ignored or handled already.
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
        if arrived:  # a library turned it into an error, or a child process died of the same signal
            raise Terminated from error
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Notes(logging.Handler):
    """Keeps what libraries log or warn about, which would bury a command's own line on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=MOST_NOTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as one string."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # its arguments do not fit its format
            text = str(record.msg)
        self.lines.append(f"{record.levelname} {record.name}: {text}")


@contextmanager
def noted() -> Iterator[Notes]:
    """Keep the warnings and log records of libraries off stderr while the block runs.

    Warnings are printed all the same if the user asked for them with -W or PYTHONWARNINGS.
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
