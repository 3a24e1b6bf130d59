"""H.264 in MP4 as browsers play it: yuv420p, index at the front. The one place that encodes video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

CRF = 20
"""x264 quality: 0 is lossless, 51 the worst."""


class Mp4Writer:
    """Writes RGB frames to `path` as they come; leaves no file behind when it fails.

    Frames go to `<path>.partial`, renamed to `path` on a clean exit. yuv420p needs even sides: an odd
    side gains one repeated row or column.
    """

    def __init__(self, path: Path, *, width: int, height: int, rate: Fraction) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._pad = (height % 2, width % 2)
        self.container: OutputContainer = av.open(
            str(self.partial), "w", format="mp4", options={"movflags": "+faststart"}
        )
        stream = self.container.add_stream("libx264", rate=rate, options={"crf": str(CRF)})
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        self._stream: VideoStream = stream
        self._next_pts = 0

    def write(self, frame: np.ndarray) -> None:
        """Append one HWC uint8 RGB frame."""
        rows, columns = self._pad
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self._next_pts
        self._next_pts += 1
        self.container.mux(self._stream.encode(picture))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.container.mux(self._stream.encode(None))
        self.container.close()
        if kind is None:
            self.partial.replace(self.path)
        else:
            self.partial.unlink(missing_ok=True)
