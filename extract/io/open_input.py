"""Opening of input files so that no kind of file can block indefinitely."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO

WRITER_WAIT_S = 2.0
"""Time in seconds within which a writer must start to write into a pipe."""


def open_input(path: Path) -> BinaryIO:
    """Open a file for reading bytes. A pipe is first read to its end, so that <(command) in a shell works.

    Args:
        path: a regular file or a pipe.

    Returns:
        An open binary file; for a pipe, its content in memory.

    Raises:
        OSError: the file cannot be opened, is a folder or a device, or is a pipe without a writer.
    """
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.ENXIO, "it is a device", str(path))
    if not stat.S_ISFIFO(mode):
        return path.open("rb")
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without O_NONBLOCK, opening blocks until there is a writer
    try:
        return io.BytesIO(_whole(pipe, path))
    finally:
        os.close(pipe)


def _whole(pipe: int, path: Path) -> bytes:
    """Read all bytes of a non-blocking pipe. Raises OSError if no writer opens it within WRITER_WAIT_S seconds."""
    parts: list[bytes] = []
    has_writer = False
    deadline = time.monotonic() + WRITER_WAIT_S
    while True:
        try:
            part = os.read(pipe, 1 << 20)
        except BlockingIOError:  # a writer has opened the pipe and has not written yet
            has_writer = True
            select.select([pipe], [], [])
            continue
        if part:
            parts.append(part)
        elif parts or has_writer:
            return b"".join(parts)
        elif time.monotonic() > deadline:
            raise OSError(errno.EPIPE, "nobody writes into this pipe", str(path))
        else:
            time.sleep(0.02)
