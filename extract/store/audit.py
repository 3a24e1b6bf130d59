"""Check that a store is complete and undamaged: checksums, shapes, ranges and values of all its parts."""

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
"""Callback for each undamaged video without checksums; receives its key and the digest of its features."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A defect in one part of a store."""

    kind: Kind
    key: str
    """The key of the video; for other parts, the name of the Zarr group."""
    cause: str
    is_passing: bool = False
    """Whether the part cannot be read at this moment (I/O error), so that it may be undamaged."""

    @property
    def message(self) -> str:
        """The fault as one readable line."""
        part = self.key if self.kind == "video" else f"{self.kind} {unlevel(self.key)}"
        return f"{part}: {self.cause}"


def audit(store: FeatureStore, on_sound: OnSound = lambda *_: None) -> Iterator[tuple[Kind, str, Fault | None]]:
    """Check every part of a store: its lists, failures, query encodings and videos.

    Stale data that a killed writer left behind is a fault too, because it takes space.

    Args:
        store: store to check.
        on_sound: called with the key and the feature digest of each undamaged video that has no checksums.

    Yields:
        For each part: its kind; the key of the video, or the group name of another part; and its first fault, or None.

    Raises:
        StoreError: the list of videos is missing.
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
    """Return all faults of a store. Raises the same errors as `audit`."""
    return [fault for _, _, fault in audit(store) if fault is not None]


def fault_of(store: FeatureStore, kind: Kind, key: str, on_sound: OnSound = lambda *_: None) -> Fault | None:
    """Return the first fault of one part of a store; None if it has none.

    Args:
        store: store that contains the part.
        kind: kind of the part.
        key: key of the video, or group name of another part, as in `Fault.key`.
        on_sound: called with the key and the feature digest of an undamaged video that has no checksums.
    """
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
    # An upgrade of an older store writes the copy of the root's attributes before the root itself, so the list of an
    # older store may already have the copy.
    is_changing = name == "videos" and not store.needs_checksums
    return None if is_changing or found == store.list_attributes(name) else METADATA


def _cause_of_video(store: FeatureStore, key: str, on_sound: OnSound) -> str | None:
    slot, record = store.slot(key), store.record(key)
    if slot is None or record is None:
        return INTERRUPTED
    # `FeatureStore.pieces` already computes the digest of features that have checksums.
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
    """Return the first inconsistency in the arrays of a readable video; None if there is none.

    Memory use does not depend on the length of the video.

    Args:
        store: store that contains the video.
        record: record of the video.
        digest: digest to update with the features; None to skip this.
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
