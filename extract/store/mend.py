"""Mending a store: what is faulty is removed, so that it is made again, or restored from what is known."""

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
    """Open a store for writing, and return whether its root had to be restored. Raises StoreError."""
    try:
        return FeatureStore.open(place, writable=True), False
    except StoreError:
        if not FeatureStore.restore(place):
            raise
        return FeatureStore.open(place, writable=True), True


def mend(store: FeatureStore, fault: Fault) -> Mended | None:
    """Mend what is faulty, if it is faulty still; return what was done.

    A video is removed, and so are queries and failures, which are made again when they are asked for. Of what lies
    beside sound features nothing else is removed. Metadata that says nothing new is written again.

    Raises StoreError.
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
    """Adds checksums to those parts of an older store that have none, as they are found to be sound."""

    def __init__(self, store: FeatureStore, *, is_wanted: bool) -> None:
        """Begin.

        Args:
            store: of any version.
            is_wanted: whether checksums are added; otherwise videos that lack them are counted.
        """
        self._store = store
        self._is_wanted = is_wanted
        self.count = 0
        """Videos that were given checksums, or lack them."""

    def on_sound(self, key: str, i3d: ValuesDigest) -> None:
        """Take what `audit` found of a video. Raises StoreError."""
        if self._store.needs_checksums:
            return
        slot = self._store.slot(key)
        if slot is not None and not slot.has_checksums:
            self.count += self._store.add_checksums(key, i3d) if self._is_wanted else 1

    def finish(self) -> None:
        """End the upgrade of a store in which no fault is left: from now on what has no checksum is damaged.

        Queries without checksums are removed, since a flipped bit in them could not be found; they are encoded again
        when they are asked for. Raises StoreError.
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
        slots = [store.slot(key) for key in store.keys()]  # noqa: SIM118 - a store is no dict
        if all(slot is None or slot.has_checksums for slot in slots):
            store.upgrade()
