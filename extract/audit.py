"""Is a store sound? Every video's arrays, whole: shapes, checksums, ranges, values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from extract.clips import plan_clips
from extract.errors import StoreError
from extract.records import VideoFeatures
from extract.store import FeatureStore

_BESIDE = "a part of an interrupted extraction lies beside it"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong with one video of a store."""

    key: str
    cause: str


def audit(store: FeatureStore) -> Iterator[tuple[str, Fault | None]]:
    """Each video's key, and the first fault that was found in it.

    What a killed writer left beside whole features, or in place of any, is a fault too: it takes space.
    """
    for key in store.all_keys():
        yield key, _fault(store, key)


def mend(store: FeatureStore, fault: Fault) -> None:
    """Remove what is faulty: the video, or only what lies beside it. Raises StoreError."""
    store.remove(fault.key, leftovers_only=fault.cause == _BESIDE)


def _fault(store: FeatureStore, key: str) -> Fault | None:
    try:
        if store.record(key) is None:
            return Fault(key=key, cause="its extraction was interrupted")
        missing = "pieces of its features are gone" if store.is_missing_pieces(key) else None
        cause = missing or _unsound(store.read(key), store)
    except StoreError as error:
        return Fault(key=key, cause=str(error).removeprefix(f"{store.place}: ").partition("; ")[0])
    if cause is None and store.leftovers(key):
        cause = _BESIDE
    return None if cause is None else Fault(key=key, cause=cause)


def _unsound(video: VideoFeatures, store: FeatureStore) -> str | None:
    """What contradicts what in a video that could be read."""
    record, settings = video.record, store.settings
    expected = plan_clips(record.frame_count, length=int(settings["clip_length"]), stride=int(settings["clip_stride"]))
    clips, channels = video.i3d.shape[:2]
    if not np.array_equal(video.clip_frames, expected):
        return f"its {len(video.clip_frames)} clip ranges are not those of {record.frame_count} frames"
    if video.i3d.shape != (len(expected), channels, 7, 7) or video.i3d.dtype != np.float16:
        return f"its features are {video.i3d.dtype} {video.i3d.shape}, for {len(expected)} clips"
    if len(video.frame_times) != record.frame_count + 1 or not (np.diff(video.frame_times[:-1]) > 0).all():
        return "the times of its frames do not rise, or are not as many as its frames"
    if not np.isfinite(video.i3d).all():
        return "its features hold NaN or infinity"
    if not video.i3d.reshape(clips, -1).any(axis=1).all():
        return "a clip's features are all zero"
    return None
