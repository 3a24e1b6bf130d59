"""The process that decodes one video, and nothing else: `extract.video.reader` starts it, reads it, and may kill it.

    python -m extract.video.worker FD PATH SIZE

What it sends through the pipe FD: a VideoInfo as a dict, with the Source's `picture` and `origin_s`; then, for each
batch of frames, a list of their times in seconds and the frames' bytes, and before it a tuple of the Source's new
`restarts`, if there are any; then the end, as a dict: `end_s`, when the last frame ends, and `fault`, why there are
fewer frames than the file announced, or None. One str in place of any message is an error, and the last message.

Seconds are a player's, whoever decodes: the time at which a frame is presented, less the container's start time, which
is that of its earliest stream.

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
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, pairwise
from multiprocessing.connection import Connection
from statistics import median

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from extract.records import VideoInfo
from extract.video.containers import open_container, period_s, plain_name, start_s
from extract.video.picture import PLAIN, Picture, sane_ratio
from extract.video.resize import stretch
from extract.video.timestamps import Clock

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
FLOAT32_S = 4096.0
"""Until then decord's times, which are float32, are exact to half a millisecond."""
MOST_REORDERED = 16
"""Packets before that of the frame that is presented first; H.264 and HEVC allow no more."""
SAME_S = 0.001
"""Times that lie no further apart are one."""
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
    origin_s: float = 0.0
    """Second 0 on the container's clock."""
    picture: Picture = PLAIN
    restarts: list[float] = field(default_factory=list)
    """Grows with the frames: `Clock.restarts`."""


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
        with plain_name(path) as name:
            reader = decord.VideoReader(name, num_threads=THREADS, fault_tol=1e-9)
        count = len(reader)
        stamps = np.asarray(reader.get_frame_timestamp(np.arange(count)))
        fps = float(reader.get_avg_fps())
        first = reader.next().asnumpy()
        reader.seek(0)
    except (*errors, OSError, AssertionError):  # it asserts that there are frames
        return None
    if first.shape[2:] != (3,):  # of some widths, 144 among them, it makes four channels
        return None
    # Its second 0 is what the container says of the stream's start, right or wrong.
    if not 0 < fps < math.inf or not -FLOAT32_S <= stamps[0, 0] <= stamps[-1, 0] <= FLOAT32_S:
        return None
    stamps = np.round(stamps.astype(np.float64) - float(stamps[0, 0]) + head.start_s, 9)
    starts = stamps[:, 0].tolist()
    ends = np.maximum(stamps[:, 1], stamps[:, 0]).tolist()
    if any(after <= before for before, after in pairwise(starts)):
        return None
    if ends[-1] <= starts[-1]:
        ends[-1] = starts[-1] + 1 / fps
    if head.end_s is not None and ends[-1] - head.end_s > 1.5 / fps:
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
    return Source(
        info=info,
        frames=frames(),
        end_s=ends[-1],
        announced_s=head.end_s,
        origin_s=head.origin_s,
        picture=head.picture,
    )


# PyAV


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a container says of its video stream, without decoding it whole."""

    origin_s: float = 0.0
    """Second 0 on the container's clock."""
    start_s: float = 0.0
    """When the first frame is presented."""
    end_s: float | None = None
    """When the stream is said to end; None if it is not said."""
    is_odd: bool = False
    """Whether decord would misread it: shift, repeat or leave out frames, or give them a wrong shape."""
    decoded_bytes: float = 0.0
    """Of the whole video; 0 if that is not known."""
    picture: Picture = PLAIN


def look(path: str) -> Head:
    """Read a container's head, and look at its first packet and its first and last key pictures."""
    head = Head()
    try:
        with open_container(path) as container:
            stream = _best(container)
            end_s = _stream_end_s(stream, container)
            about_s = end_s or (container.duration or 0) / 1_000_000
            frames = stream.frames or about_s * float(stream.average_rate or 25)
            codec = stream.codec_context.name
            begins = _beginning(path)
            origin = _origin_s(container, begins.at_s)
            is_odd = (
                len(container.streams.video) > 1
                or container.format.name == "mpegts"  # decord shifts it by some frames
                or codec in ("hevc", "vvc")  # decord stops where several frames come out at once
                or (codec not in ("vp8", "vp9") and not begins.with_key)  # decord repeats the last frame
                or begins.is_hidden
            )
            head = Head(
                origin_s=origin,
                start_s=begins.at_s - origin,
                end_s=None if end_s is None else end_s - origin,
                is_odd=is_odd,
                decoded_bytes=frames * 3 * stream.width * stream.height,
            )
            stream.codec_context.skip_frame = "NONKEY"
            first = last = _next_picture(container, stream)
            if end_s is not None:
                with contextlib.suppress(av.FFmpegError):  # then the next one has to do
                    container.seek(max(0, int((end_s - 1) * 1_000_000)))
                last = _next_picture(container, stream)
            if first is None:
                return head
            stamp_s = _seconds(first.pts, first)
            is_odd |= stamp_s is not None and abs(stamp_s - begins.at_s) > SAME_S  # what comes before it is no picture
            is_odd |= _is_odd(first, codec)
            if last is not None:
                is_odd |= _is_odd(last, codec) or (first.width, first.height) != (last.width, last.height)
            return replace(head, is_odd=is_odd, picture=_picture(stream, first))
    # Whatever is wrong with it: the decoder that follows meets it too, and says so.
    except (NoVideoError, av.FFmpegError, OSError, ValueError):
        return head


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a video stream's first packets are."""

    with_key: bool
    """Whether the first one holds a key picture."""
    is_hidden: bool
    """Whether an edit list hides one of them."""
    at_s: float
    """When the first frame is presented, on the container's clock."""
    decoded_s: tuple[float, ...]
    """When each one is to be decoded, on the same clock; those without a stamp are left out."""


def _beginning(path: str) -> Beginning:
    """Look at as many packets as may come before that of the frame that is presented first."""
    with open_container(path) as container:
        stream = _best(container)
        whole = (packet for packet in container.demux(stream) if packet.size)
        packets = list(islice(whole, MOST_REORDERED + 1))
        tick_s = float(stream.time_base or 0)
        stamps = [packet.pts for packet in packets]
        known = [stamp for stamp in stamps if stamp is not None]
        # The stream's own start time is not always that of its pictures.
        at_s = min(known, default=stream.start_time or 0) * tick_s
        if known and stamps[0] is None:
            at_s -= stamps.index(known[0]) / float(stream.average_rate or 25)
        return Beginning(
            with_key=bool(packets) and packets[0].is_keyframe,
            is_hidden=any(packet.is_discard for packet in packets),
            at_s=at_s,
            decoded_s=tuple(packet.dts * tick_s for packet in packets if packet.dts is not None),
        )


def _origin_s(container: InputContainer, first_s: float) -> float:
    """Second 0 on the container's clock: its earliest stream's start, as ffprobe's format start_time.

    libav knows no start of some files, and of others that of their sound alone.

    Args:
        container: opened.
        first_s: when the first frame is presented, on the same clock.
    """
    said_s = start_s(container)
    return first_s if said_s is None else min(said_s, first_s)


def _best(container: InputContainer) -> VideoStream:
    """The video stream that is meant, of several. Raises NoVideoError if there is none but a cover's picture."""
    stream = container.streams.best("video")
    # One whose head is damaged has no decoder.
    if not isinstance(stream, VideoStream) or getattr(stream, "codec_context", None) is None:
        raise NoVideoError(NO_VIDEO)
    if stream.disposition & Disposition.attached_pic:
        raise NoVideoError(NO_VIDEO)
    return stream


def _next_picture(container: InputContainer, stream: VideoStream) -> av.VideoFrame | None:
    """The next key picture; None where there is none to be had."""
    try:
        return next(_decoded(container, stream), None)
    except av.FFmpegError:
        return None


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Frames as they are decoded. Raises av.FFmpegError."""
    for packet in container.demux(stream):
        # An empty packet with a stamp repeats the frame before it, as in Theora; decoders take it for an error.
        if packet.size or packet.dts is None:
            yield from packet.decode()


def _is_odd(frame: av.VideoFrame, codec: str) -> bool:
    """Whether decord would misread what this frame is of."""
    # Of H.264 with a field in each packet it makes twice the frames.
    return (frame.interlaced_frame and codec == "h264") or _matrix(frame) != UPRIGHT


def _picture(stream: VideoStream, frame: av.VideoFrame) -> Picture:
    ratio = sane_ratio(stream.sample_aspect_ratio)
    return Picture(
        sample_aspect_ratio=1 / ratio if _is_lying(_matrix(frame)) else ratio,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix=int(frame.colorspace),
    )


def _stream_start_s(stream: VideoStream) -> float:
    """When the stream starts, on the container's clock."""
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _stream_end_s(stream: VideoStream, container: InputContainer) -> float | None:
    """When the stream is said to end, on the container's clock."""
    # Matroska gives no stream's length but in a tag; libav puts the container's in its place.
    has_own = "matroska" not in container.format.name
    if has_own and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base) + _stream_start_s(stream)
    # Some name a language in it.
    tags = (value for name, value in stream.metadata.items() if name.partition("-")[0] == "DURATION")
    if (tag := next(tags, None)) is not None:
        try:
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            return None
    only = len(container.streams) == 1
    return container.duration / 1_000_000 + (start_s(container) or 0.0) if only and container.duration else None


def open_av(path: str) -> Source:
    """Open with PyAV: frames as their container presents them, each in the first one's size. Raises NoVideoError."""
    try:
        container = open_container(path)
        if container.format.name.endswith("_pipe"):  # a picture
            raise NoVideoError(NO_VIDEO)
        stream = _best(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        announced_s = _stream_end_s(stream, container)  # now: some containers change their clock as they are read
        decoded = _decoded(container, stream)
        first = next(decoded)
    except (av.FFmpegError, OSError, StopIteration) as error:
        raise NoVideoError(NO_VIDEO) from error
    matrix = _matrix(first)
    width, height = (first.height, first.width) if _is_lying(matrix) else (first.width, first.height)
    # An avi gives its frames no time but that of their place in the file, which is the order of decoding.
    is_avi = container.format.name == "avi"
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    stamp_s, delay_s = _stamp_s(first, is_avi), 0.0
    if is_avi or stamp_s is None:
        begins = _beginning(path)
        presented_s = begins.at_s
        if is_avi and stamp_s is not None:
            # The decoder of B-frames holds back some packets, one frame each. A pause that lies between them, as where
            # the picture starts late, is no part of that delay.
            # The rate that an avi announces may be a multiple of that of its frames.
            steps_s = [after - before for before, after in pairwise(begins.decoded_s)]
            step_s = median(steps_s) if steps_s else 1 / fps
            delay_s = step_s * sum(dts_s < stamp_s - SAME_S for dts_s in begins.decoded_s)
            presented_s = stamp_s - delay_s
    else:
        presented_s = stamp_s
    origin = _origin_s(container, presented_s)
    first_s = presented_s - origin
    clock = Clock(origin_s=origin + delay_s, fps=fps, period_s=period_s(container), first_s=first_s)

    def frames() -> Iterator[Frame]:
        frame: av.VideoFrame | None = first
        while frame is not None:
            following, broken = None, None
            try:
                following = next(decoded, None)
            except (av.FFmpegError, OSError) as error:
                broken = error
            after_s = None if following is None else _stamp_s(following, is_avi)
            start = clock(_stamp_s(frame, is_avi), after_s)
            lasts_s = _seconds(frame.duration, frame) or 1 / fps
            pixels = frame.to_ndarray(format="rgb24", width=first.width, height=first.height)
            yield start, start + lasts_s, _upright(pixels, matrix)
            if broken is not None:
                raise BrokenError from broken
            frame = following

    said_s = (announced_s - origin if announced_s else (container.duration or 0) / 1_000_000) - first_s
    count = stream.frames or round(said_s * fps) or _packets(path)
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
        announced_s = None if container.format.name == "mpegts" else announced_s - origin
    return Source(
        info=info,
        frames=frames(),
        end_s=None,
        announced_s=announced_s,
        origin_s=origin,
        picture=_picture(stream, first),
        restarts=clock.restarts,
    )


def _stamp_s(frame: av.VideoFrame, is_avi: bool) -> float | None:
    return _seconds(frame.dts if is_avi else frame.pts, frame)


def _seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    return None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)


def _packets(path: str) -> int:
    """About how many there are, one a frame: of what does not say how long it is, by reading it while there is time."""
    until, count = time.monotonic() + COUNTING_S, 0
    try:
        with open_container(path) as container:
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
    pipe.send(asdict(info) | {"picture": source.picture, "origin_s": source.origin_s})
    sent = (size, size) if size else (info.width, info.height)
    most = max(1, min(MOST_FRAMES, BATCH_BYTES // (3 * sent[0] * sent[1])))
    times: list[float] = []
    batch: list[np.ndarray] = []
    count = known = 0
    sent_at = time.monotonic()

    def flush() -> None:
        nonlocal sent_at, known
        if restarts := source.restarts[known:]:
            pipe.send(tuple(restarts))
            known += len(restarts)
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
