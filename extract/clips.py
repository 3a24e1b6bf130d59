"""Clips: the ranges of frames that the backbone processes together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np


class Maps(Protocol):
    """Feature maps that can be sliced: an array in memory or in a store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, (clip, ...)."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - numpy's
        """NumPy dtype of the numbers."""

    def __getitem__(self, clips: slice, /) -> Any:  # noqa: ANN401 - an array
        """Return the feature maps of a range of clips."""


def clip_count(frame_count: int, *, length: int, stride: int) -> int:
    """Return the number of clips that cover `frame_count` frames; at least one.

    Args:
        frame_count: number of frames of the video, at least 1.
        length: frames per clip.
        stride: frames between the starts of adjacent clips.

    Raises:
        ValueError: `frame_count` is less than 1.
    """
    if frame_count < 1:
        raise ValueError(f"frame_count must be at least 1, got {frame_count}")
    return 1 + max(0, -(-(frame_count - length) // stride))


def plan_clips(frame_count: int, *, length: int, stride: int) -> np.ndarray:
    """Return the frame ranges of all clips of a video.

    Clips start at 0, stride, 2 * stride and so on, so that every frame is in a clip. The last range is cut at the end
    of the video; the clip itself is padded with copies of the last frame.

    Args:
        frame_count: number of frames of the video, at least 1.
        length: frames per clip.
        stride: frames between the starts of adjacent clips.

    Returns:
        int32 (clip, 2): half-open ranges of source frames.

    Raises:
        ValueError: `frame_count` is less than 1.
    """
    starts = np.arange(clip_count(frame_count, length=length, stride=stride), dtype=np.int32) * stride
    return np.stack([starts, np.minimum(starts + length, frame_count)], axis=1).astype(np.int32)


def each_clip(clip_frames: np.ndarray) -> np.ndarray:
    """Return groups for `pool_clips` that contain one clip each.

    Args:
        clip_frames: an array with one row per clip.

    Returns:
        int (clip, 2): half-open ranges of clips.
    """
    numbers = np.arange(len(clip_frames))
    return np.stack([numbers, numbers + 1], axis=1)


def iter_clips(frames: Iterable[np.ndarray], *, length: int, stride: int) -> Iterator[np.ndarray]:
    """Cut a stream of frames into clips, in the order of `plan_clips`.

    At most `length` frames are held in memory, regardless of the length of the stream.

    Args:
        frames: uint8 (H, W, 3) RGB frames.
        length: frames per clip.
        stride: frames between the starts of adjacent clips.

    Yields:
        uint8 (length, H, W, 3). The last clip is padded with copies of the last frame.
    """
    window: list[np.ndarray] = []
    emitted_end = 0
    seen = 0
    for frame in frames:
        window.append(frame)
        seen += 1
        if len(window) == length:
            yield np.stack(window)
            emitted_end = seen
            del window[:stride]
    if seen > emitted_end:
        yield np.stack(window + [window[-1]] * (length - len(window)))


def batched(clips: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stack clips into batches.

    Args:
        clips: uint8 (T, H, W, 3) clips.
        size: clips per batch.

    Yields:
        uint8 (B, T, H, W, 3); B is `size`, or less for the last batch.
    """
    batch: list[np.ndarray] = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def pool_clips(maps: Maps, groups: np.ndarray, *, piece: int) -> np.ndarray:
    """Average the feature maps of each group of clips.

    Args:
        maps: (clip, ...); an array in memory, or one that is read when sliced. Apart from the result, only `piece`
            clips are held in memory.
        groups: int (step, 2), half-open ranges of clips; each range starts at the end of the previous one.
        piece: number of clips per slice.

    Returns:
        (step, ...) with the dtype of `maps`.
    """
    first, end = int(groups[0, 0]), int(groups[-1, 1])
    sizes = groups[:, 1] - groups[:, 0]
    if (sizes == 1).all():
        return np.asarray(maps[first:end])
    total = np.zeros((len(groups), *maps.shape[1:]), np.float32)
    step_of = np.repeat(np.arange(len(groups)), sizes)
    for start in range(first, end, piece):
        clips = np.asarray(maps[start : min(start + piece, end)])
        for step, clip in zip(step_of[start - first :], clips, strict=False):
            total[step] += clip
    total /= sizes.reshape(-1, *[1] * (total.ndim - 1))
    return total.astype(maps.dtype)
