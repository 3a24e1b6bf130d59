"""Files from outside, opened so that no kind of file can block for ever."""

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
"""Seconds in which somebody must begin to write into a pipe."""


def open_input(path: Path) -> BinaryIO:
    """Open a file for reading bytes. A pipe is read to its end first, so that a shell's <(command) works.

    Raises:
        OSError: the file cannot be opened, is a folder or a device, or is a pipe into which nobody writes.
    """
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.ENXIO, "it is a device", str(path))
    if not stat.S_ISFIFO(mode):
        return path.open("rb")
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without the flag, opening waits for a writer
    try:
        return io.BytesIO(_whole(pipe, path))
    finally:
        os.close(pipe)


def _whole(pipe: int, path: Path) -> bytes:
    """All bytes of a pipe that is not blocking."""
    parts: list[bytes] = []
    has_writer = False
    deadline = time.monotonic() + WRITER_WAIT_S
    while True:
        try:
            part = os.read(pipe, 1 << 20)
        except BlockingIOError:  # a writer holds the pipe open and has written nothing yet
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
