"""Videos as streams of frames, decoded in a child process that can be killed.

decord can hang while it holds the interpreter lock. A thread cannot be stopped in this state, but a process can. The
child (`extract.video.worker`) decodes in presentation order, resizes the frames and sends them in batches over a pipe.
When the pipe is full the child waits, which limits how far it runs ahead of the reader. decord itself decodes ahead
without a limit, so it is used only for videos that may be held in memory completely.
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
"""File name suffixes of videos, in lower case."""
_DIGEST_BYTES = 1 << 20


@dataclass(kw_only=True)
class VideoStream:
    """An open video: its description, and its frames, which can be read once."""

    info: VideoInfo
    """Declared properties of the video. There may be fewer frames, and with PyAV as the decoder their number is an
    estimate."""
    frames: Iterator[np.ndarray]
    """Frames in presentation order, uint8 (H, W, 3) RGB."""
    times: list[float]
    """Start time in seconds of each frame that was read; at the end, also the end time of the last frame.

    Times are those of a player: 0 is the start of the file's earliest stream, which may be audio, so the first frame
    can start later."""
    fault: str | None = None
    """Reason why there were fewer frames than declared, or None; set after the last frame."""
    picture: Picture = PLAIN
    """Aspect ratio and color space of the frames."""
    origin_s: float = 0.0
    """Position of second 0 on the container's clock, in seconds."""
    restarts: list[float] = field(default_factory=list)
    """Values of `extract.video.timestamps.Clock.restarts`; each one is added no later than the frames that it
    affects."""

    @property
    def frame_times(self) -> np.ndarray:
        """float64 (frame + 1,): start time of each frame, and end time of the last one, in seconds.

        It is valid after the last frame.
        """
        return np.array(self.times, np.float64)

    @property
    def true_info(self) -> VideoInfo:
        """Properties of the video with the actual frame count and duration. They are valid after the last frame."""
        return replace(self.info, frame_count=len(self.times) - 1, duration_s=self.times[-1] - self.times[0])


def source_digest(path: Path) -> str:
    """Return the SHA-256, in hex, of a file's size and its first and last MiB.

    The digest does not depend on the path, so copies of a file have the same digest.

    Args:
        path: the file to read.

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
    """Context manager that decodes a video and yields it as a stream.

    Args:
        path: the video file.
        timeout_s: time in seconds without data after which the decoder process is killed.
        size: side length in pixels to which each frame is resized; None keeps the original size.

    Yields:
        The open video. Reading its frames can raise MediaError and DecodeTimeoutError.

    Raises:
        MissingInputError: the file does not exist.
        MediaError: the file is not a video, or none of its frames can be decoded.
        DecodeTimeoutError: no data arrived for `timeout_s` seconds, and the decoder process was killed.
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
    """Return the properties that a video file declares, without decoding it completely.

    Args:
        path: the video file.
        timeout_s: see `open_video`.

    Raises:
        MissingInputError, MediaError, DecodeTimeoutError: see `open_video`.
    """
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
    """Handle of the decoder process."""

    def __init__(self, path: Path, size: int | None, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._pipe, theirs = Pipe()
        self._reading = threading.Lock()
        self._log = TemporaryFile()  # noqa: SIM115 - closed with the child
        # start_new_session: Ctrl-C and a closing terminal signal only the parent. The child ends when its pipe is
        # closed.
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
        """Return the child's next message.

        Raises MediaError if the child reports an error or dies, and DecodeTimeoutError if it sends nothing in time.
        """
        # At the deadline the child is killed. This closes its end of the pipe, which unblocks the read below.
        late = threading.Event()

        def end() -> None:
            with suppress(OSError):  # the pipe is being closed
                if self._pipe.poll():
                    return  # data is available, so the reader was paused, not the child
            late.set()
            self._process.kill()

        deadline = threading.Timer(self._timeout_s, end)
        deadline.daemon = True  # does not keep an interrupted program alive
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
        with self._reading:  # wait for a reading thread: the pipe's descriptor must not be reused while it reads
            self._pipe.close()
            self._log.close()
