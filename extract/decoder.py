"""The process that decodes one video, and nothing else: `extract.video` starts it, reads it, and may kill it.

    python -m extract.decoder FD PATH SIZE

What it sends through the pipe FD: a VideoInfo as a dict; then, for each batch of frames, a list of their times in
seconds and the frames' bytes; then the end, as a dict: `end_s`, when the last frame ends, and `fault`, why there are
fewer frames than the file announced, or None. One str in place of any message is an error, and the last message.

decord decodes. It misreads some files without a word: transport streams, HEVC, what begins without a key picture, files
whose edit list hides a part, streams that change their size. Those are told beforehand, and PyAV decodes them.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import signal
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from multiprocessing.connection import Connection

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from extract.clock import Clock
from extract.records import VideoInfo
from extract.transforms import stretch

BATCH_BYTES = 4 << 20
"""About how much is sent at once: few enough to hold, many enough that messages cost nothing."""
MOST_FRAMES = 512
"""In a batch, however small they are: the reader waits for no more."""
MOST_S = 1.0
"""In a batch, where frames come slowly: the reader takes a long silence for a hang."""
COUNTING_S = 5.0
"""For the packets of a file that does not say how long it is; the rest is estimated."""
MOST_DECODED_BYTES = 1 << 30
"""Of a whole video that decord decodes: it runs ahead of a slow reader without bound, from its opening on, where PyAV
waits to be asked."""


def threads_of(asked: str) -> int:
    """What OMP_NUM_THREADS asks for: its first number; 0, the decoder's own choice, where that is none."""
    first = asked.partition(",")[0].strip()
    return int(first) if re.fullmatch("[0-9]{1,4}", first) else 0


THREADS = threads_of(os.environ.get("OMP_NUM_THREADS", ""))
"""That decode: as many as torch has, where that is bounded; 0 leaves it to the decoder."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl."""
SHORT_S = 1.0
SHORT_SHARE = 0.02
"""A video is short if it ends by more than both before the time that its container announces."""
NO_VIDEO = "not a video that can be read; give an mp4, mkv, webm, mov or avi file"
CUT_SHORT = "the file is cut short or damaged there"


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened video, whoever decodes it."""

    info: VideoInfo
    frames: Iterator[Frame]
    """Raises BrokenError where it breaks off."""
    end_s: float | None
    """When the last frame ends, if all are there; None if that is not known before."""
    announced_s: float | None
    """When the container says that the video ends; None if it does not."""


Frame = tuple[float, float, np.ndarray]
"""When it begins and when it ends, in seconds, and its pixels, HWC uint8 RGB."""


class BrokenError(Exception):
    """Frames cannot be decoded from here on."""


class NoVideoError(Exception):
    """There is nothing to decode; the message says why."""


def open_source(path: str) -> Source:
    """Open with decord, or with PyAV what decord would misread. Raises NoVideoError."""
    head = look(path)
    if head.is_odd or not 0 < head.decoded_bytes <= MOST_DECODED_BYTES:
        return open_av(path)
    source = open_decord(path, head)
    if source is None or is_short(source.end_s, source.announced_s):
        return open_av(path)  # of a file that is cut short PyAV finds at least as much
    return source


def is_short(end_s: float | None, announced_s: float | None) -> bool:
    """Whether a video ends well before it should."""
    if end_s is None or announced_s is None:
        return False
    return announced_s - end_s > max(SHORT_S, SHORT_SHARE * announced_s)


# decord


def open_decord(path: str, head: Head) -> Source | None:
    """Open with decord; None if it would misread the file, or cannot read it: one that is cut short at times."""
    from importlib.metadata import version

    # In search of its own, decord loads every CUDA library that torch has brought: 0.5 s and 700 MiB for nothing.
    sys.modules.setdefault("nvidia", None)  # type: ignore[arg-type] # what is None is not found
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    errors = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, StopIteration)
    try:
        # By default it puts the frame before in place of one that cannot be decoded.
        reader = decord.VideoReader(path, num_threads=THREADS, fault_tol=1e-9)
        count = len(reader)
        stamps = np.asarray(reader.get_frame_timestamp(np.arange(count)))
        fps = float(reader.get_avg_fps())
        first = reader.next().asnumpy()
        reader.seek(0)
    except (*errors, OSError, AssertionError):  # it asserts that there are frames
        return None
    if first.shape[2:] != (3,):  # of some widths, 144 among them, it makes four channels
        return None
    starts = stamps[:, 0].tolist()
    ends = np.maximum(stamps[:, 1], stamps[:, 0]).tolist()
    if not 0 < fps < math.inf or abs(starts[0]) > 1e-3 or any(after <= before for before, after in pairwise(starts)):
        return None
    if ends[-1] <= starts[-1]:
        ends[-1] = starts[-1] + 1 / fps
    if head.duration_s is not None and ends[-1] - head.duration_s > 1.5 / fps:
        return None  # an edit list hides a tail

    def frames() -> Iterator[Frame]:
        for start, end in zip(starts, ends, strict=True):
            try:
                frame = reader.next().asnumpy()
            except errors as error:
                raise BrokenError from error
            yield start, end, frame

    info = VideoInfo(
        width=first.shape[1],
        height=first.shape[0],
        fps=fps,
        frame_count=count,
        duration_s=ends[-1] - starts[0],
        decoder=f"decord2 {version('decord2')}",
    )
    return Source(info=info, frames=frames(), end_s=ends[-1], announced_s=head.duration_s)


# PyAV


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a container says of its video stream, without decoding it whole."""

    duration_s: float | None
    """When the stream is said to end; None if it is not said."""
    is_odd: bool
    """Whether decord would misread it: shift, repeat or leave out frames, or give them a wrong shape."""
    decoded_bytes: float
    """Of the whole video; 0 if that is not known."""


def look(path: str) -> Head:
    """Read a container's head, and look at its first packet and its first and last key pictures."""
    head = Head(duration_s=None, is_odd=False, decoded_bytes=0)
    try:
        with _opened(path) as container:
            stream = _best(container)
            duration_s = _stream_end_s(stream, container)
            about_s = duration_s or (container.duration or 0) / 1_000_000
            frames = stream.frames or about_s * float(stream.average_rate or 25)
            codec = stream.codec_context.name
            is_odd = (
                len(container.streams.video) > 1
                or container.format.name == "mpegts"  # decord shifts it by some frames
                or codec in ("hevc", "vvc")  # decord stops where several frames come out at once
                or (codec not in ("vp8", "vp9") and not _begins_with_key(path))  # decord repeats the last frame
            )
            head = Head(duration_s=duration_s, is_odd=is_odd, decoded_bytes=frames * 3 * stream.width * stream.height)
            stream.codec_context.skip_frame = "NONKEY"
            looks = _look_at(container, stream)
            if duration_s is not None:
                with contextlib.suppress(av.FFmpegError):  # then the next one has to do
                    container.seek(max(0, int((duration_s - 1) * 1_000_000)))
                looks |= _look_at(container, stream)
            return replace(head, is_odd=is_odd or len(looks) > 1 or any(odd for _, _, odd in looks))
    # Whatever is wrong with it: the decoder that follows meets it too, and says so.
    except (NoVideoError, av.FFmpegError, OSError, ValueError):
        return head


def _begins_with_key(path: str) -> bool:
    with _opened(path) as container:
        packets = (packet for packet in container.demux(_best(container)) if packet.size)
        return next((packet.is_keyframe for packet in packets), False)


def _opened(path: str) -> InputContainer:
    # A title in Latin-1 is no reason to refuse a video.
    return av.open(path, metadata_errors="replace")


def _best(container: InputContainer) -> VideoStream:
    """The video stream that is meant, of several. Raises NoVideoError if there is none but a cover's picture."""
    stream = container.streams.best("video")
    # One whose head is damaged has no decoder.
    if not isinstance(stream, VideoStream) or getattr(stream, "codec_context", None) is None:
        raise NoVideoError(NO_VIDEO)
    if stream.disposition & Disposition.attached_pic:
        raise NoVideoError(NO_VIDEO)
    return stream


def _look_at(container: InputContainer, stream: VideoStream) -> set[tuple[int, int, bool]]:
    """Size of the next key picture, and whether decord would misread it; empty where there is none to be had."""
    try:
        frame = next(container.decode(stream))
    except (av.FFmpegError, StopIteration):
        return set()
    # Of H.264 with a field in each packet decord makes twice the frames.
    is_fields = frame.interlaced_frame and stream.codec_context.name == "h264"
    return {(frame.width, frame.height, bool(is_fields) or _matrix(frame) != UPRIGHT)}


def _stream_end_s(stream: VideoStream, container: InputContainer) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    # Matroska's, a stream's own; some name a language in it.
    tags = (value for name, value in stream.metadata.items() if name.partition("-")[0] == "DURATION")
    if (tag := next(tags, None)) is not None:
        try:
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            return None
    only = len(container.streams) == 1
    return container.duration / 1_000_000 if only and container.duration is not None else None


def open_av(path: str) -> Source:
    """Open with PyAV: frames as their container presents them, each in the first one's size. Raises NoVideoError."""
    try:
        container = _opened(path)
        if container.format.name.endswith("_pipe"):  # a picture
            raise NoVideoError(NO_VIDEO)
        stream = _best(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        announced_s = _stream_end_s(stream, container)  # now: some containers change their clock as they are read
        decoded = container.decode(stream)
        first = next(decoded)
    except (av.FFmpegError, OSError, StopIteration) as error:
        raise NoVideoError(NO_VIDEO) from error
    matrix = _matrix(first)
    width, height = (first.height, first.width) if _is_lying(matrix) else (first.width, first.height)
    is_transport = container.format.name == "mpegts"
    # An avi gives its frames no time but that of their place in the file, which is the order of decoding.
    is_avi = container.format.name == "avi"
    # The container's clock may begin anywhere, and its sound with it.
    origin_s = (_stamp_s(first, is_avi) or 0.0) if is_avi else (container.start_time or 0) / 1_000_000
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    clock = Clock(origin_s=origin_s, fps=fps, may_be_cut=is_transport)

    def frames() -> Iterator[Frame]:
        frame: av.VideoFrame | None = first
        while frame is not None:
            start = clock(_stamp_s(frame, is_avi))
            lasts_s = _seconds(frame.duration, frame) or 1 / fps
            pixels = frame.to_ndarray(format="rgb24", width=first.width, height=first.height)
            yield start, start + lasts_s, _upright(pixels, matrix)
            try:
                frame = next(decoded, None)
            except (av.FFmpegError, OSError) as error:
                raise BrokenError from error

    said_s = announced_s or (container.duration or 0) / 1_000_000 + origin_s
    count = stream.frames or round((said_s - origin_s) * fps) or _packets(path)
    info = VideoInfo(
        width=width,
        height=height,
        fps=fps,
        frame_count=max(1, count),
        duration_s=max(1, count) / fps,
        decoder=f"PyAV {av.__version__}",
    )
    if announced_s is not None:
        # What a transport stream says is taken from its last stamp, which may be of another clock.
        announced_s = None if is_transport else announced_s - origin_s
    return Source(info=info, frames=frames(), end_s=None, announced_s=announced_s)


def _stamp_s(frame: av.VideoFrame, is_avi: bool) -> float | None:
    return _seconds(frame.dts if is_avi else frame.pts, frame)


def _seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    return None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)


def _packets(path: str) -> int:
    """About how many there are, one a frame: of what does not say how long it is, by reading it while there is time."""
    until, count = time.monotonic() + COUNTING_S, 0
    try:
        with _opened(path) as container:
            for packet in container.demux(_best(container)):
                count += bool(packet.size)
                if packet.pos and time.monotonic() > until:
                    return round(count * container.size / packet.pos)
            return count
    except (av.FFmpegError, OSError):
        return 0  # cut short: decoding tells


Matrix = tuple[int, int, int, int]
UPRIGHT: Matrix = (1, 0, 0, 1)


def _matrix(frame: av.VideoFrame) -> Matrix:
    """The signs of a display matrix's first four numbers: how a picture is to be turned and mirrored."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))  # type: ignore[call-overload] # it is a buffer
    # What is turned by a part of a right angle stays as it lies nearest.
    a, b, c, d = (a, 0, 0, d) if abs(a) > abs(b) else (0, b, c, 0)
    return ((a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0))


def _is_lying(matrix: Matrix) -> bool:
    return matrix[0] == 0


def _upright(pixels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """HWC pixels as they are to be seen."""
    if matrix == UPRIGHT:
        return pixels
    a, b, c, d = matrix
    across, down = (c, b) if _is_lying(matrix) else (a, d)
    seen = pixels.swapaxes(0, 1) if _is_lying(matrix) else pixels
    return np.ascontiguousarray(seen[:: down or 1, :: across or 1])


# Sending


def serve(pipe: Connection, path: str, size: int) -> None:
    """Decode `path`, each frame stretched to (size, size) unless size is 0, and send all of it."""
    try:
        source = open_source(path)
    except NoVideoError as error:
        pipe.send(str(error))
        return
    info = source.info
    pipe.send(asdict(info))
    sent = (size, size) if size else (info.width, info.height)
    most = max(1, min(MOST_FRAMES, BATCH_BYTES // (3 * sent[0] * sent[1])))
    times: list[float] = []
    batch: list[np.ndarray] = []
    count = 0
    sent_at = time.monotonic()

    def flush() -> None:
        nonlocal sent_at
        if batch:
            pipe.send(times)
            pipe.send_bytes(np.stack(batch).tobytes())
            times.clear()
            batch.clear()
        sent_at = time.monotonic()  # not while it waited for a slow reader

    fault, end_s = None, 0.0
    try:
        for begins_s, ends_s, frame in source.frames:
            count, end_s = count + 1, ends_s
            times.append(begins_s)
            batch.append(stretch(frame, size) if size else frame)
            if len(batch) >= most or time.monotonic() - sent_at > MOST_S:
                flush()
    except BrokenError:
        fault = f"frame {count} of {info.frame_count} cannot be decoded: {CUT_SHORT}"
    flush()
    if count == 0:
        pipe.send("no frame can be decoded; copy the file again, or re-encode it")
        return
    # Whether PyAV calls the end of a file that is cut short an error depends on its threads.
    if (fault is None or source.end_s is None) and is_short(end_s, source.announced_s):
        fault = f"it ends after {end_s:.1f} of the {source.announced_s:.1f} seconds that it announces: {CUT_SHORT}"
    pipe.send({"end_s": end_s, "fault": fault})


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies: one that hangs would stay for ever."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    try:
        serve(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    except BrokenPipeError:
        # The reader went away: nobody is left to tell.
        os._exit(0)
