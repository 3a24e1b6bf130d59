"""Render a tube on its video, as an MP4 that plays in a browser."""

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
"""Suffixes that the name of an overlay may have."""
LONGEST_CAPTION = 300
"""Maximum length of the caption in characters. The model reads only 20 words, so this is enough."""


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
    """Copy a video and render the tube's boxes, a caption, and a bar that marks the span.

    The frame size, sample aspect ratio, colors, frame times and audio of the source are kept, except that an odd width
    or height grows by one pixel (`pipeline.media.video_writer`).

    Args:
        source: video to copy.
        tube: tube to render, with boxes in source pixels.
        caption: text at the top of each frame.
        out: MP4 file to write.
        frame_count: number of frames that can be decoded from the source.
        timeout_s: seconds to wait for a frame before decoding is aborted.
        on_frame: called after each frame with the number of frames done and `frame_count`.

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
    """Check that an overlay can be written, before any long work starts.

    Args:
        source: video to copy.
        out: MP4 file to write.

    Raises:
        OutputError: `out` is the source itself, cannot be written, or has a suffix other than SUFFIXES.
    """
    if os.path.realpath(out) == os.path.realpath(source):
        raise OutputError(f"{out}: is the source video itself; name another file with --overlay")
    check_writable(out)
    if out.suffix.lower() not in SUFFIXES and not is_special(out):
        raise OutputError(f"{out}: an overlay is an MP4 video; let its name end in .mp4")


class _Painter:
    """Renders the overlay on frames of a fixed size."""

    def __init__(self, width: int, height: int, frame_count: int, tube: Tube, caption: str) -> None:
        self._tube = tube
        self._frame_count = frame_count
        side = min(width, height)
        self._line = max(2, round(side / 120))
        self._bar = max(3, round(side / 60))
        self._caption = _caption(_shortened(printable(caption)), width, size=max(9, round(side / 20)))

    def paint(self, frame: np.ndarray, number: int) -> np.ndarray:
        """Return a frame with the caption, the bar and, within the span, the box.

        Args:
            frame: HWC uint8 RGB frame.
            number: number of the frame, from 0.

        Returns:
            HWC uint8 RGB frame of the same size.
        """
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
    """Return a caption truncated to LONGEST_CAPTION characters, so that it does not cover the frame."""
    return text if len(text) <= LONGEST_CAPTION else f"{text[:LONGEST_CAPTION]}..."


def _caption(text: str, width: int, *, size: int) -> Image.Image:
    """Return an RGBA image of white text on a shaded strip, with line breaks.

    Args:
        text: text of the caption.
        width: width of the strip in pixels, equal to that of the frames.
        size: font size in pixels.
    """
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
