"""H.264 in MP4 as browsers play it: yuv420p, index at the front. The one place that encodes video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from extract.errors import OutputError
from extract.io.files import replacing
from extract.video.containers import open_container, period_s, start_s
from extract.video.picture import UNKNOWN, Picture
from extract.video.timestamps import wraps_too_far

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

CRF = 20
"""x264 quality: 0 is lossless, 51 the worst."""
X264 = "mbtree=0"
"""With AVX-512 its macroblock tree reads memory that nobody wrote: the same pictures gave other bytes each time."""
TICKS_PER_S = 10_000
"""At least: the grain of frame times, which a constant rate meets exactly."""
BROWSER_SOUND = frozenset({"aac", "mp3", "opus", "flac"})
"""Codecs that an mp4 may hold and a browser plays: copied. Others are encoded anew, as AAC."""
SD_MATRIX = 6
"""ITU-T H.273's number for the matrix of standard definition, which swscale takes where it is told none."""
MATRICES = {1: 1, 4: 4, 5: 5, SD_MATRIX: 5, 7: 7, 9: 9}
"""Of those that swscale has, from H.273's numbers to its own."""
SOUND_BACK_S = 0.1
"""A sound's stamps that step back by more begin on another clock."""


@contextmanager
def open_mp4(
    path: Path,
    *,
    width: int,
    height: int,
    rate: Fraction,
    picture: Picture | None = None,
    sound: Path | None = None,
    origin_s: float | None = None,
    restarts: Sequence[float] = (),
    comment: str | None = None,
) -> Iterator[Mp4Writer]:
    """Open a file for frames; it is whole when the block ends well, and otherwise not there.

    yuv420p needs even sides: an odd side gains one repeated row or column.

    Args:
        path: where the video will be.
        width: of the frames in pixels.
        height: of the frames in pixels.
        rate: frames a second, where frames do not come with a time.
        picture: how a player is to show the frames; None leaves it to the player.
        sound: a video whose sound, if it has any, is taken along.
        origin_s: the frames' second 0 on that video's clock; None for where the video starts.
        restarts: of that video's clock; may grow with the frames: `extract.video.reader.VideoStream.restarts`.
        comment: stands in the file's metadata.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial:
        try:
            with ExitStack() as stack:
                out = stack.enter_context(
                    av.open(_address(partial), "w", format="mp4", options={"movflags": "+faststart"})
                )
                if comment is not None:
                    out.metadata["comment"] = comment
                writer = Mp4Writer(out, width=width, height=height, rate=rate, picture=picture)
                if sound is not None:
                    writer.take_sound(stack.enter_context(open_container(sound)), origin_s, restarts)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise OutputError(f"{path}: cannot be encoded ({error}); name another file") from error


def _address(path: Path) -> str:
    """A path as FFmpeg takes it for nothing else: no protocol, whatever colons its name has."""
    return f"file:{path.absolute()}"


class Mp4Writer:
    """Writes RGB frames as they come; made by `open_mp4`."""

    def __init__(
        self, container: OutputContainer, *, width: int, height: int, rate: Fraction, picture: Picture | None = None
    ) -> None:
        self._container = container
        self._pad = (height % 2, width % 2)
        self._rate = rate
        self._tick = Fraction(1, rate.numerator * -(-TICKS_PER_S // rate.numerator))
        self._frames = 0
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(CRF), "x264-params": X264})
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._tick
        self._stream: VideoStream = stream
        self._sound: _Sound | None = None
        self._matrix: int | None = None
        if picture is not None:
            self._show_as(picture)

    def _show_as(self, picture: Picture) -> None:
        """Have players show the frames' pixels as those that they come from."""
        context = self._stream.codec_context
        context.sample_aspect_ratio = picture.sample_aspect_ratio
        context.color_primaries, context.color_trc = picture.primaries, picture.transfer
        # Untagged colors were read as a standard picture's, and are given back as they were.
        tag = picture.matrix if picture.matrix in (*MATRICES, UNKNOWN) else SD_MATRIX
        context.colorspace = tag
        self._matrix = MATRICES.get(tag)

    def take_sound(self, source: InputContainer, origin_s: float | None = None, restarts: Sequence[float] = ()) -> None:
        """Mux that file's first audio stream that can be read, if it has any, along with the frames to come."""
        # One whose codec is not known has no context, and one that comes late may have no rate.
        for stream in source.streams.audio:
            if getattr(stream, "codec_context", None) is not None and stream.rate:
                self._sound = _Sound(source, stream, self._container, origin_s, restarts)
                return

    def write(self, frame: np.ndarray, *, at_s: float | None = None) -> None:
        """Append one HWC uint8 RGB frame, shown from `at_s` on; without it, at the constant rate."""
        rows, columns = self._pad
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._matrix is not None:
            picture = picture.reformat(format="yuv420p", dst_colorspace=self._matrix)
        if at_s is None:
            at_s = float(self._frames / self._rate)
        picture.pts, picture.time_base = round(at_s / self._tick), self._tick
        self._container.mux(self._stream.encode(picture))
        self._frames += 1
        if self._sound is not None:
            self._sound.mux_until(at_s)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.mux_until(float("inf"))


_Packets = Iterator["Packet[AudioStream] | None"]
"""None where the next one has to wait for the pictures."""


class _Sound:
    """Another file's audio stream, muxed alongside the pictures as their time comes.

    As a player does, it goes on after what cannot be decoded, and ends where the file breaks off.
    """

    def __init__(
        self,
        source: InputContainer,
        stream: AudioStream,
        out: OutputContainer,
        origin_s: float | None,
        restarts: Sequence[float],
    ) -> None:
        self._source = source
        self._shift_s = -Fraction(origin_s if origin_s is not None else start_s(source) or 0)
        self._period_s = period_s(source)
        self._restarts = restarts
        self._is_ending = False
        self._out = out
        self._stream: AudioStream
        if stream.codec_context.codec.canonical_name in BROWSER_SOUND:
            self._stream = out.add_stream_from_template(stream)
            self._packets = _rising(self._copied(stream))
        else:
            self._stream = out.add_stream("aac", rate=stream.rate)
            self._packets = _rising(self._encoded(stream))
        self._next: Packet[AudioStream] | None = None

    def mux_until(self, moment_s: float) -> None:
        """Mux what begins before that moment."""
        self._is_ending = moment_s == math.inf
        while True:
            self._next = self._next or next(self._packets, None)
            if self._next is None or _begins_s(self._next) > moment_s:
                return
            self._out.mux(self._next)
            self._next = None

    def _copied(self, stream: AudioStream) -> _Packets:
        for packet in self._read(stream):
            if packet is None:
                yield None
            elif packet.dts is not None:
                packet.stream = self._stream
                yield packet

    def _encoded(self, stream: AudioStream) -> _Packets:
        for packet in self._read(stream):
            if packet is None:
                yield None
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _read(self, stream: AudioStream) -> _Packets:
        """Packets with the frames' second 0."""
        shift_s, restarts, before_s = self._shift_s, 0, None
        with suppress(av.FFmpegError):
            for packet in self._source.demux(stream):
                if packet.dts is not None:
                    stamp_s = float(packet.dts * packet.time_base)
                    if before_s is not None and self._is_another_clock(before_s, stamp_s):
                        # What it says, the pictures tell: sound and picture move by the same.
                        while restarts == len(self._restarts) and not self._is_ending:
                            yield None
                        if restarts < len(self._restarts):
                            shift_s, restarts = Fraction(self._restarts[restarts]), restarts + 1
                    before_s = stamp_s
                    shift = round(shift_s / packet.time_base)
                    packet.dts += shift
                    packet.pts = packet.pts + shift if packet.pts is not None else None
                yield packet

    def _is_another_clock(self, before_s: float, stamp_s: float) -> bool:
        return stamp_s < before_s - SOUND_BACK_S or wraps_too_far(before_s, stamp_s, self._period_s)


def _rising(packets: _Packets) -> _Packets:
    """Packets without those whose time falls back: no mp4 holds them."""
    last = -math.inf
    for packet in packets:
        if packet is not None and packet.dts is not None:
            if packet.dts <= last:
                continue
            last = packet.dts
        yield packet


def _begins_s(packet: Packet[AudioStream]) -> float:
    """Seconds at which a packet is to be decoded; 0 where its container does not say."""
    return 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
