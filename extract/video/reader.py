"""Videos as streams of frames, decoded in a child process that can be killed.

decord can hang while it holds the interpreter's lock, and a thread cannot be stopped; a process can.
The child (`extract.video.worker`) decodes in presentation order, stretches, and sends batches of frames over a
pipe; the pipe's fullness is what keeps it from running ahead of the reader, and decord is given none but
videos that it may hold whole.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from extract.errors import DecodeTimeoutError, MediaError, MissingInputError
from extract.io.files import is_file
from extract.records import VideoInfo
from extract.video.picture import PLAIN, Picture

VIDEO_SUFFIXES = frozenset(
    ".3gp .asf .avi .f4v .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mxf .ogv .ts .vob .webm .wmv".split()  # noqa: SIM905
)
_DIGEST_BYTES = 1 << 20


@dataclass(kw_only=True)
class VideoStream:
    """An open video: its description and its frames, which can be read once."""

    info: VideoInfo
    """As announced: there may be fewer frames, and where PyAV decodes their number is an estimate."""
    frames: Iterator[np.ndarray]
    """HWC uint8 RGB, in presentation order."""
    times: list[float]
    """Seconds at which each frame that was read begins; at the end, also when the last one ends.

    They are a player's: 0 is where the file's earliest stream starts, be it sound, and the first frame may come later.
    """
    fault: str | None = None
    """At the end: why there were fewer frames than announced, if there were."""
    picture: Picture = PLAIN
    origin_s: float = 0.0
    """Second 0 on the file's own clock."""
    restarts: list[float] = field(default_factory=list)
    """`extract.video.timestamps.Clock.restarts`, no later than the frames that they shift."""

    @property
    def frame_times(self) -> np.ndarray:
        """After the last frame: float64 (frame + 1,), when each begins, and when the last one ends."""
        return np.array(self.times, np.float64)

    @property
    def true_info(self) -> VideoInfo:
        """After the last frame: the description, with what was found to be true."""
        return replace(self.info, frame_count=len(self.times) - 1, duration_s=self.times[-1] - self.times[0])


def source_digest(path: Path) -> str:
    """SHA-256 over a file's size and its first and last MiB: the same file wherever it is copied.

    Raises:
        MissingInputError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_DIGEST_BYTES))
            file.seek(max(0, size - _DIGEST_BYTES))
            digest.update(file.read(_DIGEST_BYTES))
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read ({error.strerror}); check the path and its rights") from error
    return digest.hexdigest()


@contextmanager
def open_video(path: Path, *, timeout_s: float, size: int | None = None) -> Iterator[VideoStream]:
    """Decode `path`, each frame stretched to (size, size) or left as it is.

    Raises:
        MissingInputError: there is no such file.
        MediaError: the file is no video, or none of its frames can be decoded.
        DecodeTimeoutError: no frame came for `timeout_s` seconds; the child was killed.
    """
    if not is_file(path):
        raise MissingInputError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty; copy or download it again")
    child = _Child(path, size, timeout_s)
    try:
        head = child.receive()
        picture, origin_s = head.pop("picture"), head.pop("origin_s")
        stream = VideoStream(info=VideoInfo(**head), frames=iter(()), times=[], picture=picture, origin_s=origin_s)
        stream.frames = _frames(child, stream, size)
        yield stream
    finally:
        child.close()


def probe(path: Path, *, timeout_s: float) -> VideoInfo:
    """What `path` says of itself, without decoding it whole. Raises as `open_video`."""
    with open_video(path, timeout_s=timeout_s) as stream:
        return stream.info


def _frames(child: _Child, stream: VideoStream, size: int | None) -> Iterator[np.ndarray]:
    shape = (size, size, 3) if size else (stream.info.height, stream.info.width, 3)
    while isinstance(message := child.receive(), list | tuple):
        if isinstance(message, tuple):
            stream.restarts.extend(message)
            continue
        frames = np.frombuffer(child.receive(raw=True), np.uint8).reshape(len(message), *shape)
        for start, frame in zip(message, frames, strict=True):
            stream.times.append(start)
            yield frame
    stream.times.append(message["end_s"])
    stream.fault = message["fault"]


class _Child:
    """The decoding process, seen from its reader."""

    def __init__(self, path: Path, size: int | None, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._pipe, theirs = Pipe()
        self._reading = threading.Lock()
        self._log = TemporaryFile()  # noqa: SIM115 - closed with the child
        # A session of its own: Ctrl-C and a closing terminal reach the parent alone, and the child ends
        # when its pipe does.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "extract.video.worker", str(theirs.fileno()), str(path), str(size or 0)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()

    def receive(self, *, raw: bool = False) -> Any:  # noqa: ANN401 - a dict, a list, or bytes
        """Return the child's next message, or raise what it, or its silence, means."""
        # Killed at the deadline, the child closes the pipe, which ends a read at whatever point it waits.
        late = threading.Event()

        def end() -> None:
            with suppress(OSError):  # closed at this moment
                if self._pipe.poll():
                    return  # it was not the child that slept
            late.set()
            self._process.kill()

        deadline = threading.Timer(self._timeout_s, end)
        deadline.daemon = True  # an interrupted program does not wait for it
        with self._reading:
            try:
                deadline.start()
                message = self._pipe.recv_bytes() if raw else self._pipe.recv()
            except (EOFError, OSError):
                message = self._death(late=late.is_set())
            finally:
                deadline.cancel()
        if isinstance(message, Exception):
            raise message
        if isinstance(message, str):
            raise MediaError(f"{self._path}: {message}")
        return message

    def _death(self, *, late: bool) -> MediaError:
        code = self._process.wait()
        if late:
            return DecodeTimeoutError(
                f"{self._path}: the decoder gave nothing for {self._timeout_s:g} s; the file may be damaged: "
                "re-encode it, or raise extract.decode_timeout_s"
            )
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return MediaError(f"{self._path}: the decoder died with exit code {code} ({tail[0]}); re-encode the file")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with self._reading:  # a thread that still reads sees the end first, and not another pipe of the same number
            self._pipe.close()
            self._log.close()
