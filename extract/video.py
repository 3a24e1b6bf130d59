"""Videos as streams of frames, decoded in a child process that can be killed.

decord can hang while it holds the interpreter's lock, and a thread cannot be stopped; a process can.
The child runs this module, decodes in presentation order, stretches, and sends batches of frames over
a pipe; the pipe's fullness is what keeps it from running ahead of the reader.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from extract.errors import DecodeTimeoutError, MediaError, MissingInputError
from extract.records import VideoInfo
from extract.transforms import stretch

VIDEO_SUFFIXES = frozenset(
    ".avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
BATCH_BYTES = 4 << 20
"""About how much the child sends at once: few enough to hold, many enough that messages cost nothing."""
_DIGEST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class VideoStream:
    """An open video: its description and its frames, which can be read once."""

    info: VideoInfo
    frame_times: np.ndarray
    """float64 (frame + 1,): seconds at which each frame begins, and at which the last one ends."""
    frames: Iterator[np.ndarray]
    """HWC uint8 RGB, in presentation order; raises MediaError where the video breaks off."""


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
        MediaError: the file is no video, or one that decord reads wrongly.
        DecodeTimeoutError: no frame came for `timeout_s` seconds; the child was killed.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty; copy or download it again")
    child = _Child(path, size, timeout_s)
    try:
        info = VideoInfo(**child.receive())
        times = np.frombuffer(child.receive(raw=True), np.float64)
        yield VideoStream(info=info, frame_times=times, frames=_frames(child, info, size))
    finally:
        child.close()


def probe(path: Path, *, timeout_s: float) -> VideoInfo:
    """What `path` says of itself, without decoding it whole. Raises as `open_video`."""
    with open_video(path, timeout_s=timeout_s) as stream:
        return stream.info


def _frames(source: _Child, info: VideoInfo, size: int | None) -> Iterator[np.ndarray]:
    shape = (size, size, 3) if size else (info.height, info.width, 3)
    while (count := source.receive()) is not None:
        yield from np.frombuffer(source.receive(raw=True), np.uint8).reshape(count, *shape)


class _Child:
    """The decoding process, seen from its reader."""

    def __init__(self, path: Path, size: int | None, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._pipe, theirs = Pipe()
        self._log = TemporaryFile()  # noqa: SIM115 - closed with the child
        # A session of its own: Ctrl-C and a closing terminal reach the parent alone, and the child ends
        # when its pipe does.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "extract.video", str(theirs.fileno()), str(path), str(size or 0)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()

    def receive(self, *, raw: bool = False) -> Any:  # noqa: ANN401 - a dict, a count, None, or bytes
        """Return the child's next message, or raise what it, or its silence, means."""
        # Killed at the deadline, the child closes the pipe, which ends a read at whatever point it waits.
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        deadline = threading.Timer(self._timeout_s, end)
        deadline.daemon = True  # an interrupted program does not wait for it
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
        self._pipe.close()
        self._log.close()


# What follows runs in the child.

_NO_VIDEO = "not a video that can be read; give an mp4, mkv, webm, mov or avi file"
_REMUX = "decord would misread it silently; re-encode it, for example: ffmpeg -i IN -c:v libx264 OUT.mp4"


def _serve(pipe: Connection, path: str, size: int) -> None:
    """Send a VideoInfo as a dict, the frames' times, then (count, bytes) for each batch, then None.

    One str in place of what is due is an error, and the last message.
    """
    from importlib.metadata import version

    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(path, num_threads=0)
    except (decord.DECORDError, RuntimeError, OSError):
        pipe.send(_NO_VIDEO)
        return
    count = len(reader)
    if count == 0:
        pipe.send("it has no video frames; " + _NO_VIDEO.partition("; ")[2])
        return
    stamps = np.asarray(reader.get_frame_timestamp(np.arange(count)))
    if (fault := _misread(path, stamps)) is not None:
        pipe.send(f"{fault}; {_REMUX}")
        return
    times = np.append(stamps[:, 0], max(stamps[-1, 1], stamps[-1, 0])).astype(np.float64)
    first = reader.next().asnumpy()
    info = VideoInfo(
        width=first.shape[1],
        height=first.shape[0],
        fps=float(reader.get_avg_fps()),
        frame_count=count,
        duration_s=float(times[-1] - times[0]),
        decoder=f"decord2 {version('decord2')}",
    )
    pipe.send(asdict(info))
    pipe.send_bytes(times.tobytes())
    reader.seek(0)
    batch: list[np.ndarray] = []
    frame_bytes = 3 * (size * size if size else info.width * info.height)
    for index in range(count):
        try:
            frame = reader.next().asnumpy()
        except (decord.DECORDError, StopIteration, RuntimeError):
            pipe.send(
                f"frame {index} of {count} cannot be decoded: the file is cut short or damaged; "
                "copy it again, or re-encode what is whole"
            )
            return
        batch.append(stretch(frame, size) if size else frame)
        if len(batch) * frame_bytes >= BATCH_BYTES or index == count - 1:
            pipe.send(len(batch))
            pipe.send_bytes(np.stack(batch).tobytes())
            batch = []
    pipe.send(None)


def _misread(path: str, stamps: np.ndarray) -> str | None:
    """Name what makes decord's frames of this file untrustworthy, if anything does.

    Args:
        path: its suffix tells an MPEG transport stream, which decord shifts by some frames.
        stamps: float (frame, 2), start and end of each frame in seconds.
    """
    with Path(path).open("rb") as file:
        head = file.read(197)
    # Packets of 188 bytes, or of 192 where each has a time code before it (m2ts).
    if any(head[at : at + 1] == b"\x47" == head[at + size : at + size + 1] for at, size in ((0, 188), (4, 192))):
        return "an MPEG transport stream"
    starts = stamps[:, 0]
    if starts[0] < -1e-3:
        return f"its first frame lies at {starts[0]:.3f} s, hidden by an edit list"
    for index, (before, after) in enumerate(pairwise(starts.tolist())):
        if after <= before:
            return f"frame {index + 1} is not later than the frame before it"
    return None


if __name__ == "__main__":
    import os

    try:
        _serve(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    except BrokenPipeError:
        # The reader went away: nobody is left to tell.
        os._exit(0)
