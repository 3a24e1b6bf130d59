"""Standard input, output and error of the command line, which may be closed, broken or full.

Whatever becomes of them, a command does its work to the end. A reader that left has had what it wanted. Output that
cannot be written for another reason is a failure of the command, told when its work is done.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def standard_streams() -> Iterator[None]:
    """Keep closed or broken standard streams from ending the work within.

    Raises SystemExit with code 1 at the end of work that was done well but whose standard output was not written.
    """
    _fill_closed()
    out = sys.stdout = _tolerant(sys.stdout, 1)  # which `print_to_stderr` may set aside
    sys.stderr = _tolerant(sys.stderr, 2)
    try:
        yield
    except SystemExit as end:
        error = _failure(out)
        if end.code in (None, 0) and error is not None:
            sys.stderr.write(f"Error: standard output: cannot be written ({error.strerror}); redirect it elsewhere\n")
            sys.stderr.flush()
            raise SystemExit(1) from None
        raise


def print_to_stderr() -> None:
    """Send what is printed from now on to standard error, since standard output takes a result."""
    sys.stdout.flush()
    sys.stdout = sys.stderr


class _Descriptor(io.FileIO):
    """A file descriptor to which every write succeeds, as far as its writer can see."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.error: OSError | None = None
        """Why a write failed; what came after it was dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        content = memoryview(data).cast("B")
        while self.error is None:
            try:
                written = super().write(content)
            except OSError as error:
                self.error = error
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # another process has made it non-blocking
        return len(content)


def _fill_closed() -> None:
    """Open /dev/null in the place of closed streams, or the next file that is opened would take their messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _tolerant(stream: TextIO | None, number: int) -> TextIO:
    """A stream on a descriptor that reports no errors; another stream than the process's own as it is."""
    if stream is not None:
        raw = _raw(stream)
        if not isinstance(raw, io.FileIO) or isinstance(raw, _Descriptor) or raw.fileno() != number:
            return stream
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number) or "PYTHONUNBUFFERED" in os.environ,
    )


def _failure(stream: TextIO) -> OSError | None:
    """Why a stream could not be written, if that is a loss: a reader that left is none."""
    stream.flush()
    raw = _raw(stream)
    error = raw.error if isinstance(raw, _Descriptor) else None
    return None if isinstance(error, BrokenPipeError | ConnectionResetError) else error


def _raw(stream: TextIO) -> object:
    """What a text stream writes its bytes to; unbuffered, that is its buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
