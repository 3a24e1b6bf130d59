"""H.264 in MP4 as browsers play it: yuv420p, index at the front. The one place that encodes video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np

from pipeline.errors import OutputError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

CRF = 20
"""x264 quality: 0 is lossless, 51 the worst."""
BROWSER_SOUND = frozenset({"aac", "mp3", "opus", "flac"})
"""Codecs that an mp4 may hold and a browser plays: copied. Others are encoded anew, as AAC."""


class Mp4Writer:
    """Writes RGB frames to `path` as they come; leaves no file behind when it fails.

    Frames go to `<path>.partial`, renamed to `path` on a clean exit. yuv420p needs even sides: an odd
    side gains one repeated row or column.
    """

    def __init__(self, path: Path, *, width: int, height: int, rate: Fraction, sound: Path | None = None) -> None:
        """Open the file.

        Args:
            path: where the video will be.
            width: of the frames in pixels.
            height: of the frames in pixels.
            rate: frames a second.
            sound: a video whose sound, if it has any, is taken along.

        Raises:
            OutputError: the file cannot be written.
        """
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._pad = (height % 2, width % 2)
        self._rate = rate
        self._frames = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container: OutputContainer = av.open(
                str(self.partial), "w", format="mp4", options={"movflags": "+faststart"}
            )
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); name another file") from error
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(CRF)})
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        self._stream: VideoStream = stream
        self._sound = _Sound.of(sound, self._container) if sound is not None else None

    def write(self, frame: np.ndarray) -> None:
        """Append one HWC uint8 RGB frame."""
        rows, columns = self._pad
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self._frames
        picture.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(picture))
        self._frames += 1
        if self._sound is not None:
            self._sound.mux_until(float(self._frames / self._rate))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.mux_until(float("inf"))
            self._container.close()
            if kind is None:
                self.partial.replace(self.path)
        except OSError as failure:
            raise OutputError(f"{self.path}: cannot be written ({failure.strerror}); name another file") from failure
        finally:
            if self._sound is not None:
                self._sound.close()
            self.partial.unlink(missing_ok=True)


class _Sound:
    """Another file's first audio stream, muxed alongside the pictures as their time comes."""

    def __init__(self, source: InputContainer, out: OutputContainer) -> None:
        self._source = source
        self._out = out
        stream = source.streams.audio[0]
        self._stream: AudioStream
        if stream.codec_context.name in BROWSER_SOUND:
            self._stream = out.add_stream_from_template(stream)
            self._packets = self._copied(stream)
        else:
            self._stream = out.add_stream("aac", rate=stream.rate)
            self._packets = self._encoded(stream)
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, path: Path, out: OutputContainer) -> Self | None:
        """The sound of that file; None if it has none."""
        source = av.open(str(path))
        if not source.streams.audio:
            source.close()
            return None
        return cls(source, out)

    def mux_until(self, moment_s: float) -> None:
        """Mux what begins before that moment."""
        while self._next is not None and _begins_s(self._next) <= moment_s:
            self._out.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._source.close()

    def _copied(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        for packet in self._source.demux(stream):
            if packet.dts is not None:
                packet.stream = self._stream
                yield packet

    def _encoded(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        for frame in self._source.decode(stream):
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)


def _begins_s(packet: Packet[AudioStream]) -> float:
    """Seconds at which a packet is to be decoded; 0 where its container does not say."""
    return 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
