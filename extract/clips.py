"""Clips: which frames the backbone sees together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np


class Maps(Protocol):
    """What feature maps are sliced from: an array in memory or in a store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(clip, ...)."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - numpy's
        """Of the numbers."""

    def __getitem__(self, clips: slice, /) -> Any:  # noqa: ANN401 - an array
        """A range of clips."""


def clip_count(frame_count: int, *, length: int, stride: int) -> int:
    """Number of clips that cover `frame_count` frames; at least one."""
    if frame_count < 1:
        raise ValueError(f"frame_count must be at least 1, got {frame_count}")
    return 1 + max(0, -(-(frame_count - length) // stride))


def plan_clips(frame_count: int, *, length: int, stride: int) -> np.ndarray:
    """Frame ranges of all clips of a video: int32 (clip, 2), half-open, in source frames.

    Clips start at 0, stride, 2 * stride ...; the last range is cut at the video's end (the clip itself
    is filled up with its last frame), so that every frame is in a clip.
    """
    starts = np.arange(clip_count(frame_count, length=length, stride=stride), dtype=np.int32) * stride
    return np.stack([starts, np.minimum(starts + length, frame_count)], axis=1).astype(np.int32)


def each_clip(clip_frames: np.ndarray) -> np.ndarray:
    """Groups for `pool_clips` of one clip each: int (clip, 2)."""
    numbers = np.arange(len(clip_frames))
    return np.stack([numbers, numbers + 1], axis=1)


def iter_clips(frames: Iterable[np.ndarray], *, length: int, stride: int) -> Iterator[np.ndarray]:
    """Cut a stream of HWC uint8 frames into clips, THWC uint8, in the order of `plan_clips`.

    Holds `length` frames, however long the stream is.
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
    """Stack THWC clips into BTHWC batches of `size`, the last one possibly smaller."""
    batch: list[np.ndarray] = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def pool_clips(maps: Maps, groups: np.ndarray, *, piece: int) -> np.ndarray:
    """Mean of each group's clips, of the same dtype: (clip, ...) -> (step, ...).

    Args:
        maps: an array, or what is read as it is sliced: beside the result, only `piece` clips of it are held.
        groups: int (step, 2), half-open ranges of clips, each beginning where the one before ends.
        piece: clips that are sliced at a time.
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
