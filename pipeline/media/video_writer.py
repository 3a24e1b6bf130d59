"""Encode H.264 video in MP4 that browsers can play: yuv420p and faststart. All videos are encoded here."""

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
"""Constant rate factor of x264: 0 is lossless, 51 is the lowest quality."""
X264 = "mbtree=0"
"""Options of x264. With AVX-512, macroblock-tree rate control reads uninitialized memory, so that encoding the same
frames gave different bytes each time."""
TICKS_PER_S = 10_000
"""Minimum resolution of frame times in ticks per second; the time base also represents a constant rate exactly."""
BROWSER_SOUND = frozenset({"aac", "mp3", "opus", "flac"})
"""Audio codecs that MP4 supports and browsers play. They are copied; audio in other codecs is re-encoded as AAC."""
SD_MATRIX = 6
"""ITU-T H.273 number of the matrix coefficients for standard definition, which swscale uses by default."""
MATRICES = {1: 1, 4: 4, 5: 5, SD_MATRIX: 5, 7: 7, 9: 9}
"""Matrix coefficients that swscale supports: from H.273 numbers to swscale's numbers."""
SOUND_BACK_S = 0.1
"""Audio timestamps that jump back by more than this start a new clock (concatenated files)."""


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
    """Open a video file for writing; it appears at `path` only if the block ends without an error.

    yuv420p requires an even width and height, so the last column or row of frames with an odd side is repeated.

    Args:
        path: MP4 file to write.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        rate: constant rate in frames per second, for frames that are written without a time.
        picture: sample aspect ratio and color tags; None writes no tags.
        sound: video whose audio, if there is any, is copied; None for no audio.
        origin_s: time of frame time 0 on the clock of `sound`, in seconds; None uses the start of that video.
        restarts: offsets in seconds for each new clock in `sound`, as in `extract.video.reader.VideoStream.restarts`;
            the list may grow while frames are written.
        comment: text for the field `comment` of the file's metadata.

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
    """Return a path as a file URL, so that FFmpeg does not parse a colon in the name as the end of a protocol."""
    return f"file:{path.absolute()}"


class Mp4Writer:
    """Encodes RGB frames one by one; made by `open_mp4`."""

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
        """Tag the video with the sample aspect ratio and colors of its source, so that players show it alike."""
        context = self._stream.codec_context
        context.sample_aspect_ratio = picture.sample_aspect_ratio
        context.color_primaries, context.color_trc = picture.primaries, picture.transfer
        # The decoder treated untagged video as standard definition; the encoder does too, and writes no tag. A matrix
        # that swscale does not support is replaced by that of standard definition.
        tag = picture.matrix if picture.matrix in (*MATRICES, UNKNOWN) else SD_MATRIX
        context.colorspace = tag
        self._matrix = MATRICES.get(tag)

    def take_sound(self, source: InputContainer, origin_s: float | None = None, restarts: Sequence[float] = ()) -> None:
        """Copy the first readable audio stream of a file, if there is one; it is muxed as frames are written.

        Args:
            source: open file with the audio.
            origin_s: time of frame time 0 on the clock of `source`, in seconds; None uses the start of the file.
            restarts: offsets in seconds for each new clock in `source`, as for `open_mp4`.
        """
        # A stream with an unknown codec has no codec context; one that starts late in the file may have no rate.
        for stream in source.streams.audio:
            if getattr(stream, "codec_context", None) is not None and stream.rate:
                self._sound = _Sound(source, stream, self._container, origin_s, restarts)
                return

    def write(self, frame: np.ndarray, *, at_s: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: HWC uint8 RGB frame of the video's size.
            at_s: presentation time in seconds; None uses the number of the frame and the constant rate.
        """
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
        """Flush the encoder and write the rest of the audio."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.mux_until(float("inf"))


_Packets = Iterator["Packet[AudioStream] | None"]
"""Audio packets; None means that the next packet depends on frames that have not been decoded yet."""


class _Sound:
    """Muxes the audio stream of another file, interleaved with the video frames.

    Like a player, it skips packets that cannot be decoded and ends at the point where the file is truncated.
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
        """Mux all packets that start at or before a time in seconds; infinity muxes all remaining packets."""
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
        """Yield the packets of a stream with timestamps shifted to the clock of the frames."""
        shift_s, restarts, before_s = self._shift_s, 0, None
        with suppress(av.FFmpegError):
            for packet in self._source.demux(stream):
                if packet.dts is not None:
                    stamp_s = float(packet.dts * packet.time_base)
                    if before_s is not None and self._is_another_clock(before_s, stamp_s):
                        # The offset of the new clock is determined from the video frames, and the audio uses the same
                        # one. Wait until the frames around the restart have been decoded.
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
    """Drop packets whose decoding timestamp does not increase, which MP4 does not allow."""
    last = -math.inf
    for packet in packets:
        if packet is not None and packet.dts is not None:
            if packet.dts <= last:
                continue
            last = packet.dts
        yield packet


def _begins_s(packet: Packet[AudioStream]) -> float:
    """Return the decoding timestamp of a packet in seconds; 0 if the container does not have one."""
    return 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
