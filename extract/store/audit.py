"""Is a store sound? All that it holds, whole: checksums, shapes, ranges, values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from extract.clips import plan_clips
from extract.errors import StoreError, StoreUnreachableError
from extract.records import VideoRecord
from extract.store.checksums import ValuesDigest
from extract.store.feature_store import FeatureStore, StoreList
from extract.store.slots import GENERATION, Slot
from extract.store.versions import group_attributes, names, reading, unlevel

BESIDE = "a part of an interrupted extraction lies beside it"
INTERRUPTED = "its extraction was interrupted"
METADATA = "a zarr.json that other tools read is gone or damaged"
Kind = Literal["list", "failure", "queries", "video"]
OnSound = Callable[[str, ValuesDigest], None]
"""Called with the key of a sound video that has no checksums, and the digest of its features."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong with one part of a store."""

    kind: Kind
    key: str
    """Of a video; of another part its name on one level of the store."""
    cause: str
    is_passing: bool = False
    """Whether it may be sound, but cannot be read at this moment."""

    @property
    def message(self) -> str:
        """One line for a person."""
        part = self.key if self.kind == "video" else f"{self.kind} {unlevel(self.key)}"
        return f"{part}: {self.cause}"


def audit(store: FeatureStore, on_sound: OnSound = lambda *_: None) -> Iterator[tuple[Kind, str, Fault | None]]:
    """The first fault of each part of a store: its lists, failures, encodings of queries, and videos.

    Yields:
        The part's kind; a video's key, or another part's name on its level of the store; and its fault, if it has one.

    What a killed writer left beside whole features, or in place of any, is a fault too: it takes space.

    Raises StoreError if the list of videos is gone.
    """
    others: list[tuple[Kind, Iterable[str]]] = [
        ("list", get_args(StoreList)),
        ("failure", names(store.root / "failures")),
        ("queries", names(store.root / "text")),
    ]
    for kind, keys in others:
        for key in keys:
            yield kind, key, fault_of(store, kind, key)
    for key in store.all_keys():
        yield "video", key, fault_of(store, "video", key, on_sound)


def faults(store: FeatureStore) -> list[Fault]:
    """All faults of a store. Raises as `audit`."""
    return [fault for _, _, fault in audit(store) if fault is not None]


def fault_of(store: FeatureStore, kind: Kind, key: str, on_sound: OnSound = lambda *_: None) -> Fault | None:
    """The first fault of one part of a store, as `Fault` names it."""
    causes: dict[Kind, Callable[[], str | None]] = {
        "list": lambda: _cause_of_list(store, key),
        "failure": lambda: store.check_failure(key),
        "queries": lambda: _cause_of_slot(store.check_queries(key)),
        "video": lambda: _cause_of_video(store, key, on_sound),
    }
    try:
        with reading(store.place, f"{key!r}", ""):
            cause = causes[kind]()
    except StoreError as error:
        cause = str(error).removeprefix(f"{store.place}: ").partition("; ")[0]
        return Fault(kind=kind, key=key, cause=cause, is_passing=isinstance(error, StoreUnreachableError))
    return None if cause is None else Fault(kind=kind, key=key, cause=cause)


def _cause_of_list(store: FeatureStore, name: str) -> str | None:
    held = names(store.root / name)
    try:
        found = group_attributes(store.root / name)
    except ValueError:
        return METADATA
    if found is None:
        is_needed = name == "videos" or (name == "failures" and store.needs_checksums)
        return METADATA if held else "it is gone, with all that it listed" if is_needed else None
    # While checksums are added to an older store, the list has its copy of the root's attributes first.
    is_changing = name == "videos" and not store.needs_checksums
    return None if is_changing or found == store.list_attributes(name) else METADATA


def _cause_of_video(store: FeatureStore, key: str, on_sound: OnSound) -> str | None:
    slot, record = store.slot(key), store.record(key)
    if slot is None or record is None:
        return INTERRUPTED
    # Reading features with checksums computes their digest already.
    digest = None if slot.has_checksums else ValuesDigest()
    cause = _unsound(store, record, digest) or _cause_of_slot(slot)
    if cause is None and digest is not None:
        on_sound(key, digest)
    return cause


def _cause_of_slot(slot: Slot | None) -> str | None:
    if slot is None:
        return INTERRUPTED
    with suppress(ValueError):
        if group_attributes(slot.content) == {GENERATION: slot.generation}:
            return BESIDE if slot.remains() else None
    return METADATA


def _unsound(store: FeatureStore, record: VideoRecord, digest: ValuesDigest | None) -> str | None:
    """The first contradiction in a video that can be read; None if there is none. Memory does not grow with its length.

    Args:
        store: the store.
        record: of the video.
        digest: is given the features, if it is not None.
    """
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
        if digest is not None:
            digest.update(piece)
        if not np.isfinite(piece).all():
            return "its features hold NaN or infinity"
        if not piece.reshape(len(piece), -1).any(axis=1).all():
            return "a clip's features are all zero"
    return None
