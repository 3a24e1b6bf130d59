"""Create small videos and indexes for the tests."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream


def moving_square(count: int, *, width: int = 64, height: int = 48, seed: int = 0) -> list[np.ndarray]:
    """Return frames of a bright square that moves over a static background; all frames differ.

    Args:
        count: number of frames.
        width: width in pixels.
        height: height in pixels.
        seed: seed of the random background.

    Returns:
        HWC uint8 RGB frames.
    """
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    frames = []
    for number in range(count):
        frame = ground.copy()
        x, y = (number * 2) % (width - 16), 10 + number % 8
        frame[y : y + 16, x : x + 16] = (220, 40 + number % 50, 60)
        frame[0, :, 0] = number % 256
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    frames: list[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: Fraction = Fraction(10),
    sound: str | None = None,
    times_s: list[float] | None = None,
    options: dict[str, str] | None = None,
    form: str | None = None,
    container: dict[str, str] | None = None,
    title: str | None = None,
) -> Path:
    """Encode frames as a video file.

    Args:
        path: the file to write.
        frames: HWC uint8 RGB, all of the same size.
        codec: video codec, by FFmpeg's name.
        pixels: pixel format, by FFmpeg's name.
        rate: frames per second.
        sound: codec of a silent audio stream of the same length; None adds no audio.
        times_s: presentation time of each frame in seconds; None spaces the frames evenly.
        options: options of the video encoder.
        form: container format; None derives it from the file name.
        container: options of the container.
        title: title in the metadata.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", format=form, options=container or {}) as out:
        if title is not None:
            out.metadata["title"] = title
        stream = cast("VideoStream", out.add_stream(codec, rate=rate, options=options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        audio = cast("AudioStream", out.add_stream(sound, rate=48000)) if sound is not None else None
        if times_s is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times_s is not None:
                picture.pts, picture.time_base = round(1000 * times_s[number]), Fraction(1, 1000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if audio is not None:
            samples = int(48000 * len(frames) / rate)
            size = 1024
            for start in range(0, samples, size):
                piece = av.AudioFrame.from_ndarray(np.zeros((1, 2 * size), np.int16), format="s16", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = 48000, start, Fraction(1, 48000)
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return path


def side_by_side(path: Path, *videos: list[np.ndarray]) -> Path:
    """Encode several videos as the streams of one file, at 10 frames per second, and return its path."""
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("mpeg4", rate=10) for _ in videos]
        for stream, frames in zip(streams, videos, strict=True):
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
        for pictures in zip(*videos, strict=True):
            for stream, frame in zip(streams, pictures, strict=True):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def lossless(path: Path, frames: list[np.ndarray]) -> Path:
    """Encode frames losslessly, so that they decode to the same pixels."""
    return write_video(path, frames, codec="ffv1", pixels="bgr0")


def write_index_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    """Write objects as JSON lines and return the path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def square_sample(video: str, query: str, span: tuple[int, int], **more: Any) -> dict[str, Any]:
    """Return a sample whose boxes follow the square of `moving_square` in a 64x48 video.

    Args:
        video: key of the video.
        query: text of the query.
        span: half-open frame range.
        **more: other fields of the sample.

    Returns:
        An object for `write_index_lines`.
    """
    boxes = []
    for number in range(*span):
        x, y = (number * 2) % 48, 10 + number % 8
        boxes.append([x, y, x + 16, y + 16])
    return {"video": video, "query": query, "span": list(span), "boxes": boxes, **more}
