"""Repair a store: remove damaged parts, so that they can be created again, or restore them from redundant data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from extract.errors import StoreError
from extract.store.audit import BESIDE, METADATA, Fault, fault_of
from extract.store.checksums import ValuesDigest
from extract.store.feature_store import FeatureStore
from extract.store.slots import GENERATION, Slot
from extract.store.versions import drop, names, write_group, writing

Mended = Literal["removed", "restored"]


def open_mended(place: str | Path) -> tuple[FeatureStore, bool]:
    """Open a store for writing; restore its root from the copy if the root is damaged.

    Args:
        place: path or fsspec URL of the store.

    Returns:
        The store, and whether its root was restored.

    Raises:
        StoreError: the store cannot be opened, and its root cannot be restored.
    """
    try:
        return FeatureStore.open(place, writable=True), False
    except StoreError:
        if not FeatureStore.restore(place):
            raise
        return FeatureStore.open(place, writable=True), True


def mend(store: FeatureStore, fault: Fault) -> Mended | None:
    """Repair one part of a store if the fault still exists.

    Damaged videos, queries and failures are removed; the next extraction or encoding creates them again. If only stale
    data of an interrupted extraction is left next to undamaged arrays, that data alone is removed. Metadata that can be
    derived from other metadata is written again.

    Args:
        store: store, opened for writing.
        fault: fault to repair.

    Returns:
        "removed" or "restored"; None if nothing was done, because the part has no such fault any more, or because it
        could not be read for a temporary reason.

    Raises:
        StoreError: the store cannot be written.
    """
    if fault.is_passing or fault_of(store, fault.kind, fault.key) != fault:
        return None
    with writing(store.place, fault.key):
        match fault.kind:
            case "list":
                write_group(store.root / fault.key, store.list_attributes(fault.key))
                return "restored"
            case "failure":
                drop(store.root / "failures" / fault.key)
            case "queries":
                slot = store.check_queries(fault.key) if fault.cause in (BESIDE, METADATA) else None
                return _mend_slot(slot, fault, lambda: drop(store.root / "text" / fault.key))
            case "video":
                slot = store.slot(fault.key) if fault.cause in (BESIDE, METADATA) else None
                return _mend_slot(slot, fault, lambda: store.remove(fault.key))
    return "removed"


def _mend_slot(slot: Slot | None, fault: Fault, remove: Callable[[], None]) -> Mended:
    if slot is None:
        remove()
    elif fault.cause == BESIDE:
        for name in slot.remains():
            drop(slot.place / name)
    else:
        write_group(slot.content, {GENERATION: slot.generation})
        return "restored"
    return "removed"


class Upgrade:
    """Adds checksums to those parts of an older store that have none, once `audit` has found them undamaged."""

    def __init__(self, store: FeatureStore, *, is_wanted: bool) -> None:
        """Start an upgrade.

        Args:
            store: store of any supported schema version.
            is_wanted: whether to add checksums; if false, videos without checksums are only counted.
        """
        self._store = store
        self._is_wanted = is_wanted
        self.count = 0
        """Number of videos that received checksums or, with `is_wanted` false, lack them."""

    def on_sound(self, key: str, i3d: ValuesDigest) -> None:
        """Add checksums to an undamaged video, or count it; pass this method to `audit` as `on_sound`.

        Args:
            key: key of the video.
            i3d: digest of its features.

        Raises:
            StoreError: the store cannot be read or written.
        """
        if self._store.needs_checksums:
            return
        slot = self._store.slot(key)
        if slot is not None and not slot.has_checksums:
            self.count += self._store.add_checksums(key, i3d) if self._is_wanted else 1

    def finish(self) -> None:
        """Complete the upgrade of a store without faults; from then on, a missing checksum counts as damage.

        Queries without checksums are removed, because flipped bits in them could not have been detected; they are
        encoded again when they are needed.

        Raises:
            StoreError: the store cannot be read or written.
        """
        store = self._store
        if store.needs_checksums or not self._is_wanted:
            return
        for name in names(store.root / "text"):
            slot = store.check_queries(name)
            if slot is not None and not slot.has_checksums:
                with writing(store.place, "its queries"):
                    drop(slot.place)
        for failure in store.failures():
            store.note_failure(failure)
        slots = [store.slot(key) for key in store.keys()]  # noqa: SIM118 - a store is not a dict
        if all(slot is None or slot.has_checksums for slot in slots):
            store.upgrade()
