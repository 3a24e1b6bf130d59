"""H.264 in MP4 as browsers play it: yuv420p, index at the front. The one place that encodes video."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from extract.errors import OutputError
from extract.files import replacing

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


@contextmanager
def open_mp4(path: Path, *, width: int, height: int, rate: Fraction, sound: Path | None = None) -> Iterator[Mp4Writer]:
    """Open a file for frames; it is whole when the block ends well, and otherwise not there.

    yuv420p needs even sides: an odd side gains one repeated row or column.

    Args:
        path: where the video will be.
        width: of the frames in pixels.
        height: of the frames in pixels.
        rate: frames a second, where frames do not come with a time.
        sound: a video whose sound, if it has any, is taken along.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as partial:
        try:
            with ExitStack() as stack:
                out = stack.enter_context(av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}))
                writer = Mp4Writer(out, width=width, height=height, rate=rate)
                if sound is not None:
                    writer.take_sound(stack.enter_context(av.open(str(sound), metadata_errors="replace")))
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise OutputError(f"{path}: cannot be encoded ({error}); name another file") from error


class Mp4Writer:
    """Writes RGB frames as they come; made by `open_mp4`."""

    def __init__(self, container: OutputContainer, *, width: int, height: int, rate: Fraction) -> None:
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

    def take_sound(self, source: InputContainer) -> None:
        """Mux that file's first audio stream that can be read, if it has any, along with the frames to come."""
        # One whose codec is not known has no context.
        for stream in source.streams.audio:
            if getattr(stream, "codec_context", None) is not None:
                self._sound = _Sound(source, stream, self._container)
                return

    def write(self, frame: np.ndarray, *, at_s: float | None = None) -> None:
        """Append one HWC uint8 RGB frame, shown from `at_s` on; without it, at the constant rate."""
        rows, columns = self._pad
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
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


class _Sound:
    """Another file's audio stream, muxed alongside the pictures as their time comes.

    As a player does, it goes on after what cannot be decoded, and ends where the file breaks off.
    """

    def __init__(self, source: InputContainer, stream: AudioStream, out: OutputContainer) -> None:
        self._source = source
        # Frames are timed from where the container's clock begins; so is the sound.
        self._origin_s = Fraction(source.start_time or 0, 1_000_000)
        self._out = out
        self._stream: AudioStream
        if stream.codec_context.codec.canonical_name in BROWSER_SOUND:
            self._stream = out.add_stream_from_template(stream)
            self._packets = _rising(self._copied(stream))
        else:
            self._stream = out.add_stream("aac", rate=stream.rate)
            self._packets = _rising(self._encoded(stream))
        self._next = next(self._packets, None)

    def mux_until(self, moment_s: float) -> None:
        """Mux what begins before that moment."""
        while self._next is not None and _begins_s(self._next) <= moment_s:
            self._out.mux(self._next)
            self._next = next(self._packets, None)

    def _copied(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        for packet in self._read(stream):
            if packet.dts is not None:
                shift = round(self._origin_s / packet.time_base)
                packet.dts -= shift
                packet.pts = packet.pts - shift if packet.pts is not None else None
                packet.stream = self._stream
                yield packet

    def _encoded(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        for packet in self._read(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    frame.pts -= round(self._origin_s / frame.time_base)
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _read(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        with suppress(av.FFmpegError):
            yield from self._source.demux(stream)


def _rising(packets: Iterator[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
    """Packets without those whose time falls back, as where files were joined: no mp4 holds them."""
    last = -math.inf
    for packet in packets:
        if packet.dts is not None:
            if packet.dts <= last:
                continue
            last = packet.dts
        yield packet


def _begins_s(packet: Packet[AudioStream]) -> float:
    """Seconds at which a packet is to be decoded; 0 where its container does not say."""
    return 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
