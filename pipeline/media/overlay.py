"""The tube drawn on its video, as an mp4 that plays in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from extract.errors import OutputError
from extract.io.files import check_writable, is_special
from extract.io.outputs import MADE_BY
from extract.text.normalize import printable
from extract.video.reader import open_video
from pipeline.media.video_writer import open_mp4
from pipeline.types import Tube

COLOUR = (255, 64, 32)
INK = (255, 255, 255)
SHADE = (0, 0, 0, 140)
SUFFIXES = (".mp4", ".m4v", "")
"""Of names that an overlay may have."""
LONGEST_CAPTION = 300
"""Characters; the model reads 20 words."""


def write_overlay(
    source: Path,
    tube: Tube,
    caption: str,
    out: Path,
    *,
    frame_count: int,
    timeout_s: float,
    on_frame: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Copy `source` to `out` with the tube's boxes, a caption and a bar that marks the span.

    Size (an odd side gains one pixel: see `pipeline.media.video_writer`), shape and colors of the pixels, times of the
    frames, and sound are the source's.

    `frame_count` is the number of frames that the source was found to have.

    Raises:
        MediaError: the source cannot be decoded.
        OutputError: `out` cannot be written, or is the source itself.
    """
    check_overlay(source, out)
    with open_video(source, timeout_s=timeout_s) as stream:
        info = stream.info
        painter = _Painter(info.width, info.height, frame_count, tube, caption)
        rate = Fraction(info.fps).limit_denominator(1001)
        with open_mp4(
            out,
            width=info.width,
            height=info.height,
            rate=rate,
            picture=stream.picture,
            sound=source,
            origin_s=stream.origin_s,
            restarts=stream.restarts,
            comment=MADE_BY,
        ) as writer:
            for number, frame in enumerate(stream.frames):
                writer.write(painter.paint(frame, number), at_s=stream.times[number])
                on_frame(number + 1, frame_count)


def check_overlay(source: Path, out: Path) -> None:
    """Find out before long work whether an overlay can be written. Raises OutputError."""
    if os.path.realpath(out) == os.path.realpath(source):
        raise OutputError(f"{out}: is the source video itself; name another file with --overlay")
    check_writable(out)
    if out.suffix.lower() not in SUFFIXES and not is_special(out):
        raise OutputError(f"{out}: an overlay is an MP4 video; let its name end in .mp4")


class _Painter:
    """Draws on frames of one size."""

    def __init__(self, width: int, height: int, frame_count: int, tube: Tube, caption: str) -> None:
        self._tube = tube
        self._frame_count = frame_count
        side = min(width, height)
        self._line = max(2, round(side / 120))
        self._bar = max(3, round(side / 60))
        self._caption = _caption(_shortened(printable(caption)), width, size=max(9, round(side / 20)))

    def paint(self, frame: np.ndarray, number: int) -> np.ndarray:
        """One HWC uint8 RGB frame with what is to be seen at that moment."""
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        picture.paste(self._caption, (0, 0), self._caption)
        start, end = self._tube.span
        if start <= number < end:
            x1, y1, x2, y2 = (float(side) for side in self._tube.boxes[number - start])
            draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=COLOUR, width=self._line)
        width, height = picture.size
        top = height - self._bar
        draw.rectangle((0, top, width, height), fill=(60, 60, 60))
        scale = width / self._frame_count
        draw.rectangle((start * scale, top, end * scale, height), fill=COLOUR)
        draw.line((number * scale, top, number * scale, height), fill=INK, width=max(1, self._line // 2))
        return np.asarray(picture)


def _shortened(text: str) -> str:
    """A caption that leaves room for the picture."""
    return text if len(text) <= LONGEST_CAPTION else f"{text[:LONGEST_CAPTION]}..."


def _caption(text: str, width: int, *, size: int) -> Image.Image:
    """White text on a shaded strip as wide as the picture, broken into as many lines as it needs."""
    font = ImageFont.load_default(size)
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width - size:
            lines[-1] = joined
        else:
            lines.append(word)
    step = round(size * 1.3)
    strip = Image.new("RGBA", (width, step * len(lines) + size // 3), SHADE)
    draw = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        draw.text((size // 2, row * step + size // 8), line, font=font, fill=INK)
    return strip
