"""Decoder process for one video. `extract.video.reader` starts it, reads from it, and may kill it.

    python -m extract.video.worker FD PATH SIZE

The process sends these messages through the pipe FD:

- a dict: the VideoInfo, with the Source's `picture` and `origin_s`;
- for each batch of frames, a list of their start times in seconds, followed by the frames' bytes. If the Source has new
  `restarts`, they come before the batch, as a tuple;
- at the end, a dict: `end_s` is the end time of the last frame, and `fault` is the reason why there are fewer frames
  than the container declares, or None.

A str in place of any message is an error message, and the last message.

Times are in seconds as a player shows them, for both decoders: the presentation time of a frame minus the container's
start time, which is the start of its earliest stream.

The default decoder is decord. It silently misreads some files: transport streams, HEVC, streams that do not start with
a keyframe, files with an edit list that hides a part, and streams that change their frame size. Such files are detected
in advance and decoded with PyAV.
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
"""Approximate size of a batch in bytes: small enough to buffer, large enough to make the cost of a message
negligible."""
MOST_FRAMES = 512
"""Maximum number of frames in a batch, even if they are small, so that the reader does not wait long for a batch."""
MOST_S = 1.0
"""Maximum time in seconds to collect a batch if decoding is slow: the reader treats a long silence as a hang."""
COUNTING_S = 5.0
"""Maximum time in seconds to count the packets of a file that does not declare its length; the rest is estimated."""
MOST_DECODED_BYTES = 1 << 30
"""Maximum decoded size in bytes of a whole video that is decoded with decord. From the moment it opens a file, decord
decodes ahead of a slow reader without a limit, whereas PyAV decodes on demand."""


def threads_of(asked: str) -> int:
    """Return the number of threads that a value of OMP_NUM_THREADS requests.

    Args:
        asked: the value of the variable; it may be a list such as "4,2".

    Returns:
        The first number; 0 if there is none, which leaves the choice to the decoder.
    """
    first = asked.partition(",")[0].strip()
    return int(first) if re.fullmatch("[0-9]{1,4}", first) else 0


THREADS = threads_of(os.environ.get("OMP_NUM_THREADS", ""))
"""Number of decoder threads, the same as torch's if that is limited; 0 leaves the choice to the decoder."""
PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl for the signal sent when the parent process dies."""
FLOAT32_S = 4096.0
"""Time in seconds up to which decord's float32 timestamps are exact to half a millisecond."""
MOST_REORDERED = 16
"""Maximum number of packets before the packet of the first presented frame; H.264 and HEVC allow no more."""
SAME_S = 0.001
"""Maximum difference in seconds between two times that are considered equal."""
SHORT_S = 1.0
"""Tolerance in seconds; see SHORT_SHARE."""
SHORT_SHARE = 0.02
"""Tolerance as a fraction of the declared end time. A video is truncated if it ends earlier than declared by more than
this fraction and by more than SHORT_S."""
NO_VIDEO = "not a video that can be read; give an mp4, mkv, webm, mov or avi file"
CUT_SHORT = "the file is cut short or damaged there"


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened video, independent of its decoder."""

    info: VideoInfo
    """Declared properties of the video."""
    frames: Iterator[Frame]
    """Decoded frames in presentation order. The iterator raises BrokenError at the first frame that cannot be
    decoded."""
    end_s: float | None
    """End time of the last frame in seconds, if all frames can be decoded; None if it is not known in advance."""
    announced_s: float | None
    """End time of the video in seconds, as declared by the container; None if it is not declared."""
    origin_s: float = 0.0
    """Position of second 0 on the container's clock, in seconds."""
    picture: Picture = PLAIN
    """Aspect ratio and color space of the frames."""
    restarts: list[float] = field(default_factory=list)
    """Value of `Clock.restarts`, which grows while the frames are read."""


Frame = tuple[float, float, np.ndarray]
"""Start time and end time of a frame in seconds, and its pixels, uint8 (H, W, 3) RGB."""


class BrokenError(Exception):
    """Decoding cannot continue after the current frame."""


class NoVideoError(Exception):
    """The file contains no video that can be decoded; the message gives the reason."""


def open_source(path: str) -> Source:
    """Open a video with decord, or with PyAV if decord would misread it.

    Args:
        path: the video file.

    Raises:
        NoVideoError: the file contains no video that can be decoded.
    """
    head = look(path)
    if head.is_odd or not 0 < head.decoded_bytes <= MOST_DECODED_BYTES:
        return open_av(path)
    source = open_decord(path, head)
    if source is None or is_short(source.end_s, source.announced_s):
        return open_av(path)  # from a truncated file PyAV decodes at least as many frames
    return source


def is_short(end_s: float | None, announced_s: float | None) -> bool:
    """Return whether a video ends much earlier than declared. Unknown times count as not truncated.

    Args:
        end_s: actual end time in seconds, or None.
        announced_s: declared end time in seconds, or None.
    """
    if end_s is None or announced_s is None:
        return False
    return announced_s - end_s > max(SHORT_S, SHORT_SHARE * announced_s)


# decord


def open_decord(path: str, head: Head) -> Source | None:
    """Open a video with decord.

    Args:
        path: the video file.
        head: the result of `look` for the file.

    Returns:
        The opened video; None if decord would misread the file or cannot open it, for example because it is truncated.
    """
    from importlib.metadata import version

    # On import, decord loads every CUDA library that ships with torch (0.5 s and 700 MiB, of no use here). None in
    # sys.modules makes the package `nvidia` appear to be missing.
    sys.modules.setdefault("nvidia", None)  # type: ignore[arg-type] # None: not found
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    errors = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, StopIteration)
    try:
        # By default decord replaces a frame that cannot be decoded by the previous one; fault_tol disables that.
        with plain_name(path) as name:
            reader = decord.VideoReader(name, num_threads=THREADS, fault_tol=1e-9)
        count = len(reader)
        stamps = np.asarray(reader.get_frame_timestamp(np.arange(count)))
        fps = float(reader.get_avg_fps())
        first = reader.next().asnumpy()
        reader.seek(0)
    except (*errors, OSError, AssertionError):  # decord asserts that there are frames
        return None
    if first.shape[2:] != (3,):  # for some widths, such as 144, decord returns four channels
        return None
    # decord's second 0 is the start time that the container declares for the stream, which may be wrong.
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
        return None  # an edit list hides the end of the stream

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
    """Properties of a video stream that are known without decoding all of it."""

    origin_s: float = 0.0
    """Position of second 0 on the container's clock, in seconds."""
    start_s: float = 0.0
    """Presentation time of the first frame in seconds."""
    end_s: float | None = None
    """Declared end time of the stream in seconds; None if it is not declared."""
    is_odd: bool = False
    """Whether decord would misread the stream: shift, repeat or skip frames, or return them with a wrong shape."""
    decoded_bytes: float = 0.0
    """Size of the whole decoded video in bytes; 0 if it is unknown."""
    picture: Picture = PLAIN
    """Aspect ratio and color space of the frames."""


def look(path: str) -> Head:
    """Inspect a container's header, the first packets of its video stream, and its first and last keyframes.

    Args:
        path: the video file.

    Returns:
        The properties that could be read. Errors are not raised: the decoder that is used next reports them.
    """
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
                or container.format.name == "mpegts"  # decord shifts frame numbers in transport streams
                or codec in ("hevc", "vvc")  # decord stops where one packet yields several frames
                or (codec not in ("vp8", "vp9") and not begins.with_key)  # else decord repeats the last frame
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
                with contextlib.suppress(av.FFmpegError):  # use the next keyframe instead
                    container.seek(max(0, int((end_s - 1) * 1_000_000)))
                last = _next_picture(container, stream)
            if first is None:
                return head
            stamp_s = _seconds(first.pts, first)
            is_odd |= stamp_s is not None and abs(stamp_s - begins.at_s) > SAME_S  # packets before it cannot be decoded
            is_odd |= _is_odd(first, codec)
            if last is not None:
                is_odd |= _is_odd(last, codec) or (first.width, first.height) != (last.width, last.height)
            return replace(head, is_odd=is_odd, picture=_picture(stream, first))
    # The decoder that is used next encounters the same error and reports it.
    except (NoVideoError, av.FFmpegError, OSError, ValueError):
        return head


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Properties of the first packets of a video stream."""

    with_key: bool
    """Whether the first packet contains a keyframe."""
    is_hidden: bool
    """Whether an edit list hides one of the packets."""
    at_s: float
    """Presentation time of the first frame in seconds, on the container's clock."""
    decoded_s: tuple[float, ...]
    """Decoding times of the packets in seconds, on the container's clock; packets without a decoding timestamp are
    omitted."""


def _beginning(path: str) -> Beginning:
    """Inspect the first packets, up to the largest number that can precede the packet of the first presented frame."""
    with open_container(path) as container:
        stream = _best(container)
        whole = (packet for packet in container.demux(stream) if packet.size)
        packets = list(islice(whole, MOST_REORDERED + 1))
        tick_s = float(stream.time_base or 0)
        stamps = [packet.pts for packet in packets]
        known = [stamp for stamp in stamps if stamp is not None]
        # The declared start time of the stream can differ from that of its frames.
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
    """Return the position of second 0 on the container's clock: its earliest stream's start, as ffprobe's start_time.

    libav does not know the start time of some files, and for others it only knows that of the audio.

    Args:
        container: an open container.
        first_s: presentation time of the first frame in seconds, on the container's clock.
    """
    said_s = start_s(container)
    return first_s if said_s is None else min(said_s, first_s)


def _best(container: InputContainer) -> VideoStream:
    """Return the main video stream. Raises NoVideoError if there is none, or only a cover image."""
    stream = container.streams.best("video")
    # A stream with a damaged header has no decoder.
    if not isinstance(stream, VideoStream) or getattr(stream, "codec_context", None) is None:
        raise NoVideoError(NO_VIDEO)
    if stream.disposition & Disposition.attached_pic:
        raise NoVideoError(NO_VIDEO)
    return stream


def _next_picture(container: InputContainer, stream: VideoStream) -> av.VideoFrame | None:
    """Return the next keyframe, or None if there is none that can be decoded."""
    try:
        return next(_decoded(container, stream), None)
    except av.FFmpegError:
        return None


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Yield frames in the order in which the decoder returns them. Raises av.FFmpegError."""
    for packet in container.demux(stream):
        # An empty packet with a timestamp repeats the previous frame, as in Theora; decoders treat it as an error.
        if packet.size or packet.dts is None:
            yield from packet.decode()


def _is_odd(frame: av.VideoFrame, codec: str) -> bool:
    """Return whether decord would misread the stream that a frame belongs to."""
    # For H.264 with one interlaced field per packet, decord returns twice the number of frames.
    return (frame.interlaced_frame and codec == "h264") or _matrix(frame) != UPRIGHT


def _picture(stream: VideoStream, frame: av.VideoFrame) -> Picture:
    """Return the aspect ratio and color space of a frame after rotation."""
    ratio = sane_ratio(stream.sample_aspect_ratio)
    return Picture(
        sample_aspect_ratio=1 / ratio if _is_lying(_matrix(frame)) else ratio,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix=int(frame.colorspace),
    )


def _stream_start_s(stream: VideoStream) -> float:
    """Return the start time of the stream in seconds, on the container's clock."""
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _stream_end_s(stream: VideoStream, container: InputContainer) -> float | None:
    """Return the declared end time of the stream in seconds, on the container's clock; None if it is not declared."""
    # Matroska declares the duration of a stream only in a tag; libav substitutes the duration of the container.
    has_own = "matroska" not in container.format.name
    if has_own and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base) + _stream_start_s(stream)
    # The name of the tag can include a language.
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
    """Open a video with PyAV. All frames are scaled to the size of the first one.

    Args:
        path: the video file.

    Raises:
        NoVideoError: the file contains no video that can be decoded.
    """
    try:
        container = open_container(path)
        if container.format.name.endswith("_pipe"):  # a still image
            raise NoVideoError(NO_VIDEO)
        stream = _best(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        announced_s = _stream_end_s(stream, container)  # before reading: some containers change their clock later
        decoded = _decoded(container, stream)
        first = next(decoded)
    except (av.FFmpegError, OSError, StopIteration) as error:
        raise NoVideoError(NO_VIDEO) from error
    matrix = _matrix(first)
    width, height = (first.height, first.width) if _is_lying(matrix) else (first.width, first.height)
    # AVI has no presentation timestamps; a frame's time follows from its position in the file, in decoding order.
    is_avi = container.format.name == "avi"
    fps = float(stream.average_rate or stream.guessed_rate or 25)
    stamp_s, delay_s = _stamp_s(first, is_avi), 0.0
    if is_avi or stamp_s is None:
        begins = _beginning(path)
        presented_s = begins.at_s
        if is_avi and stamp_s is not None:
            # With B-frames the decoder delays its output by some packets, one frame each. A pause between these
            # packets, for example because the video stream starts late, is not part of that delay. The frame rate that
            # an AVI file declares can be a multiple of the actual rate, so the median step between packets is used.
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
        # The declared end of a transport stream is computed from its last timestamp, which may belong to another clock.
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
    """Return the timestamp of a frame in seconds: for AVI the decoding time, otherwise the presentation time."""
    return _seconds(frame.dts if is_avi else frame.pts, frame)


def _seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    """Convert ticks of a frame's time base to seconds."""
    return None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)


def _packets(path: str) -> int:
    """Return the number of video packets, one per frame, for a file that does not declare its length.

    The packets are read for at most COUNTING_S seconds; after that the total is estimated from the position in the
    file.
    """
    until, count = time.monotonic() + COUNTING_S, 0
    try:
        with open_container(path) as container:
            for packet in container.demux(_best(container)):
                count += bool(packet.size)
                if packet.pos and time.monotonic() > until:
                    return round(count * container.size / packet.pos)
            return count
    except (av.FFmpegError, OSError):
        return 0  # truncated: the decoder reports it


Matrix = tuple[int, int, int, int]
"""Signs of a display matrix's elements a, b, c, d."""
UPRIGHT: Matrix = (1, 0, 0, 1)
"""Matrix of a frame that is neither rotated nor mirrored."""


def _matrix(frame: av.VideoFrame) -> Matrix:
    """Return the signs of the rotation part of a frame's display matrix, which describes its rotation and mirroring."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))  # type: ignore[call-overload] # side data supports the buffer protocol
    # Other angles are rounded to the nearest multiple of 90 degrees.
    a, b, c, d = (a, 0, 0, d) if abs(a) > abs(b) else (0, b, c, 0)
    return ((a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0))


def _is_lying(matrix: Matrix) -> bool:
    """Return whether a display matrix rotates the frame by 90 or 270 degrees."""
    return matrix[0] == 0


def _upright(pixels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """Return (H, W, 3) pixels after applying a display matrix."""
    if matrix == UPRIGHT:
        return pixels
    a, b, c, d = matrix
    across, down = (c, b) if _is_lying(matrix) else (a, d)
    seen = pixels.swapaxes(0, 1) if _is_lying(matrix) else pixels
    return np.ascontiguousarray(seen[:: down or 1, :: across or 1])


# Sending


def serve(pipe: Connection, path: str, size: int) -> None:
    """Decode a video and send all messages described in the module's docstring.

    Args:
        pipe: the connection to send to.
        path: the video file.
        size: side length in pixels to which each frame is resized; 0 keeps the original size.

    Raises:
        BrokenPipeError: the reader closed its end of the pipe.
    """
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
        sent_at = time.monotonic()  # set after sending, to exclude the wait for a slow reader

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
    # PyAV reports an error at the end of a truncated file only with some numbers of threads, so compare the times too.
    if (fault is None or source.end_s is None) and is_short(end_s, source.announced_s):
        fault = f"it ends after {end_s:.1f} of the {source.announced_s:.1f} seconds that it announces: {CUT_SHORT}"
    pipe.send({"end_s": end_s, "fault": fault})


def end_with_parent() -> None:
    """Make the kernel kill this process when its parent dies; a hung decoder would otherwise never exit."""
    with contextlib.suppress(OSError, AttributeError):  # prctl exists only on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    try:
        serve(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    except BrokenPipeError:
        # The reader has closed the pipe, so there is no process to report to.
        os._exit(0)
