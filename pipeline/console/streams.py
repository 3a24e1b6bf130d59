"""Handle standard streams that are closed, broken or on a full disk.

A command always completes its work. If the reader of a pipe has exited, the rest of the output is dropped, as with
`| head`. If standard output cannot be written for another reason, the command reports an error after its work is done.
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
    """Prevent closed or broken standard streams from interrupting the block.

    Raises:
        SystemExit: with code 1, if the block exits successfully but its standard output could not be written.
    """
    _fill_closed()
    out = sys.stdout = _tolerant(sys.stdout, 1)  # keep a reference: `print_to_stderr` may replace it
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
    """Print to standard error from now on, because a result is written to standard output."""
    sys.stdout.flush()
    sys.stdout = sys.stderr


class _Descriptor(io.FileIO):
    """A file descriptor that reports every write as successful, and records the first error."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.error: OSError | None = None
        """The first error of a write; everything after it is dropped."""

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
                select.select([], [self], [])  # the descriptor is non-blocking, set by another process: wait
        return len(content)


def _fill_closed() -> None:
    """Open /dev/null for closed streams; otherwise the next opened file would get their descriptor and messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _tolerant(stream: TextIO | None, number: int) -> TextIO:
    """Return a text stream that ignores write errors of a descriptor.

    A stream that is not on that descriptor, such as a test's replacement, is returned unchanged.
    """
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
    """Return the error of writing a stream; None if there is none or the reader of a pipe or socket has exited."""
    stream.flush()
    raw = _raw(stream)
    error = raw.error if isinstance(raw, _Descriptor) else None
    return None if isinstance(error, BrokenPipeError | ConnectionResetError) else error


def _raw(stream: TextIO) -> object:
    """Return the raw binary stream below a text stream; for an unbuffered stream, that is its buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
