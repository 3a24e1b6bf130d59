"""Is a store sound? Every video's arrays, whole: shapes, checksums, ranges, values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from extract.clips import plan_clips
from extract.errors import StoreError, StoreUnreachableError
from extract.records import VideoRecord
from extract.store import GONE, FeatureStore

_BESIDE = "a part of an interrupted extraction lies beside it"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong with one video of a store."""

    key: str
    cause: str
    is_passing: bool = False
    """Whether it may be sound, but cannot be read at this moment."""


def audit(store: FeatureStore) -> Iterator[tuple[str, Fault | None]]:
    """Each video's key, and the first fault that was found in it.

    What a killed writer left beside whole features, or in place of any, is a fault too: it takes space.
    """
    for key in store.all_keys():
        yield key, _fault(store, key)


def mend(store: FeatureStore, fault: Fault) -> bool:
    """Remove what is faulty, the video or only what lies beside it, if it is faulty still; return whether it was.

    Raises StoreError.
    """
    if fault.is_passing or _fault(store, fault.key) != fault:
        return False
    store.remove(fault.key, leftovers_only=fault.cause == _BESIDE)
    return True


def _fault(store: FeatureStore, key: str) -> Fault | None:
    try:
        record = store.record(key)
        if record is None:
            return Fault(key=key, cause="its extraction was interrupted")
        missing = GONE if store.is_missing_pieces(key) else None
        cause = missing or _unsound(store, record)
    except StoreError as error:
        cause = str(error).removeprefix(f"{store.place}: ").partition("; ")[0]
        return Fault(key=key, cause=cause, is_passing=isinstance(error, StoreUnreachableError))
    if cause is None and store.leftovers(key):
        cause = _BESIDE
    return None if cause is None else Fault(key=key, cause=cause)


def _unsound(store: FeatureStore, record: VideoRecord) -> str | None:
    """What contradicts what in a video that can be read. Memory does not grow with its length."""
    settings, maps = store.settings, store.lazy(record.key)
    clip_frames, frame_times = store.times(record.key)
    expected = plan_clips(record.frame_count, length=int(settings["clip_length"]), stride=int(settings["clip_stride"]))
    if not np.array_equal(clip_frames, expected):
        return f"its {len(clip_frames)} clip ranges are not those of {record.frame_count} frames"
    if maps.ndim != 4 or maps.shape[::2] != (len(expected), 7) or maps.shape[3] != 7 or maps.dtype != np.float16:
        return f"its features are {maps.dtype} {maps.shape}, for {len(expected)} clips"
    if len(frame_times) != record.frame_count + 1 or not (np.diff(frame_times[:-1]) > 0).all():
        return "the times of its frames do not rise, or are not as many as its frames"
    for piece in store.pieces(record.key):
        if not np.isfinite(piece).all():
            return "its features hold NaN or infinity"
        if not piece.reshape(len(piece), -1).any(axis=1).all():
            return "a clip's features are all zero"
    return None
