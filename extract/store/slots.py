"""Slots: groups of arrays that are replaced atomically and have checksums.

The attributes of a slot contain the name of its current version, which is the subgroup with its arrays; checksums of
the metadata and the values of each array; and a checksum of all attributes. A slot without checksums was written by a
release of this program that did not support them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import StorePath

from extract.errors import StoreError
from extract.io.json_text import json_digest
from extract.store.checksums import CHECKSUM, ValuesDigest, check_attributes, with_checksum
from extract.store.versions import document, drop, group_attributes, names, open_array, stored_sizes, write_group

GENERATION, ARRAYS = "generation", "arrays"
MOST_PIECES = 1_000_000
"""Maximum number of files of one array; a shape that implies more is treated as damaged metadata."""
COMPRESSORS = (ZstdCodec(level=1), Crc32cCodec())
"""Compression of all arrays, measured in docs/decisions.md. Without CRC32C, a flipped bit can go undetected."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A slot with its attributes, which match their checksum."""

    place: StorePath
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The last part of the slot's path."""
        return self.place.path.rpartition("/")[2]

    @property
    def generation(self) -> str:
        """The name of the current version; it changes whenever the slot is written."""
        return self.attributes[GENERATION]

    @property
    def has_checksums(self) -> bool:
        """Whether the attributes and the arrays have checksums."""
        return CHECKSUM in self.attributes

    @property
    def content(self) -> StorePath:
        """The path of the subgroup with the arrays of the current version."""
        return self.place / self.generation

    def array(self, name: str) -> zarr.Array[Any]:
        """Open an array after checking the checksum of its metadata; its values are not checked.

        Args:
            name: name of the array in the slot.

        Raises:
            ValueError: the array is missing, or its metadata does not match the checksum.
            TypeError: the node is not an array.
        """
        metadata = document(self.content / name)
        if metadata is None:
            raise ValueError(f"{name} is gone")
        if self.has_checksums and json_digest(metadata) != self.attributes[ARRAYS][name]["metadata"]:
            raise ValueError(f"the metadata of {name} does not match its checksum")
        return open_array(self.content / name, metadata)

    def rows(self, name: str) -> np.ndarray:
        """Read all values of an array and compare them with their checksum.

        Args:
            name: name of the array in the slot.

        Raises:
            ValueError: the array or one of its chunks is missing, or a checksum does not match.
            TypeError: the node is not an array.
        """
        array = self.array(name)
        if not self.has_checksums and is_missing_pieces(array):
            raise ValueError(f"pieces of {name} are gone")
        values = np.asarray(array[:])
        if self.has_checksums:
            self.check_values(name, ValuesDigest().update(values))
        return values

    def check_values(self, name: str, digest: ValuesDigest) -> None:
        """Compare the digest of an array's values with the stored checksum. Raises ValueError if they differ."""
        if digest.hexdigest() != self.attributes[ARRAYS][name]["values"]:
            raise ValueError(f"the values of {name} do not match their checksum")

    def remains(self) -> list[str]:
        """Return the names of stale data in the slot: everything except the current version."""
        return [name for name in names(self.place) if name != self.generation]


def read_slot(place: StorePath, *, known: Collection[str], required: bool) -> Slot | None:
    """Read the attributes of a slot; return None if it does not exist or if no write to it has been completed.

    Args:
        place: path of the slot.
        known: attribute names that the caller stores in such slots.
        required: whether missing checksums are an error.

    Raises:
        ValueError: the slot is damaged, or its metadata is missing although it has other content.
    """
    attributes = group_attributes(place)
    if attributes is None and names(place):
        raise ValueError("its metadata is gone")
    if not attributes:
        return None
    check_attributes(attributes, place.path.rpartition("/")[2], known={*known, GENERATION}, required=required)
    if _generation(attributes) is None:
        raise ValueError("its metadata names no content")
    return Slot(place=place, attributes=attributes)


@dataclass(frozen=True, kw_only=True)
class NewContent:
    """The new version of a slot while it is being written."""

    group: zarr.Group
    digests: dict[str, ValuesDigest] = field(default_factory=dict)
    """Digest of the values of each array, by the name of the array."""

    def write(self, name: str, values: np.ndarray, dimensions: tuple[str, ...]) -> None:
        """Write a complete array.

        Args:
            name: name of the array in the slot.
            values: numbers, or strings with dtype object.
            dimensions: names of the axes.
        """
        array = self.create(
            name,
            shape=values.shape,
            dtype="str" if values.dtype == object else values.dtype,
            dimension_names=dimensions,
        )
        array[:] = values
        self.digests[name].update(values)

    def create(self, name: str, **options: Any) -> zarr.Array[Any]:  # noqa: ANN401 - zarr's own options
        """Create an array that the caller writes in slices; the caller updates `digests[name]` with each slice.

        Args:
            name: name of the array in the slot.
            options: further arguments of `zarr.Group.create_array`.
        """
        self.digests[name] = ValuesDigest()
        # Chunks that contain only fill values are written too, so that a missing chunk always means damage.
        return self.group.create_array(name, compressors=COMPRESSORS, config={"write_empty_chunks": True}, **options)


@contextmanager
def refilling(place: StorePath, attributes: Mapping[str, Any]) -> Iterator[NewContent]:
    """Yield a new, empty version of a slot, which replaces the old version if the block ends without an error.

    Until then readers see the old version. The attributes and the name of the current version are stored in the same
    metadata file, so a single write switches both: if the writer is killed, readers see the old or the new version,
    never a mixture.

    Args:
        place: path of the slot.
        attributes: attributes to store in the slot; the block may still change the mapping.

    Raises:
        StoreError: another process wrote the slot at the same time.
    """
    old = _old_generation(place)
    for left in names(place):
        if left != old:
            drop(place / left)
    new = secrets.token_hex(4)
    try:
        write_group(place / new, {GENERATION: new})
        content = NewContent(group=zarr.open_group(place / new, mode="r+", zarr_format=3))
        yield content
        filled = _filled(place / new, content.digests)
        write_group(
            place, with_checksum({**attributes, GENERATION: new, ARRAYS: filled}, place.path.rpartition("/")[2])
        )
    except BaseException:
        with suppress(OSError):
            drop(place / new)
        raise
    if old is not None:
        with suppress(OSError):  # the new version is complete; `verify` reports the old one if it remains
            drop(place / old)


def add_checksums(slot: Slot, digests: Mapping[str, ValuesDigest], *, known: Collection[str]) -> bool:
    """Add checksums to a slot, unless it has been replaced since it was read.

    Args:
        slot: slot without checksums.
        digests: digests of the values of its arrays, by name.
        known: attribute names that the caller stores in such slots, as for `read_slot`.

    Returns:
        Whether the slot was unchanged and received the checksums.

    Raises:
        StoreError: another process removed the arrays.
    """
    filled = _filled(slot.content, digests)
    now = read_slot(slot.place, known=known, required=False)
    if now is None or now.attributes != slot.attributes:
        return False
    write_group(slot.place, with_checksum({**slot.attributes, ARRAYS: filled}, slot.name))
    return True


def is_missing_pieces(array: zarr.Array[Any]) -> bool:
    """Return whether files of an array are missing or empty; Zarr would read those parts as zeros.

    Raises:
        ValueError: the shape implies more than MOST_PIECES files.
    """
    sides = [-(-extent // size) for extent, size in zip(array.shape, array.shards or array.chunks, strict=True)]
    if prod(sides) > MOST_PIECES:
        raise ValueError(f"its shape {array.shape} cannot be true")
    keys = [array.metadata.encode_chunk_key(piece) for piece in product(*map(range, sides))]
    return not all(stored_sizes([array.store_path / key for key in keys]))


def _old_generation(place: StorePath) -> str | None:
    """Return the name of a slot's current version, None if there is none or the metadata is damaged.

    A slot that does not exist is created.
    """
    try:
        attributes = group_attributes(place)
    except ValueError:
        return None
    if attributes is None:
        write_group(place, {})
        return None
    return _generation(attributes)


def _generation(attributes: Mapping[str, Any]) -> str | None:
    named = attributes.get(GENERATION)
    return named if isinstance(named, str) and re.fullmatch("[0-9a-f]+", named) else None


def _filled(content: StorePath, digests: Mapping[str, ValuesDigest]) -> dict[str, dict[str, str]]:
    """Return the checksums of the metadata and values of written arrays.

    Raises StoreError if another writer has removed an array.
    """
    # If another writer deletes the group, creating the next array creates the folder again, but not its zarr.json.
    documents = {name: document(content / name) for name in digests}
    if not group_attributes(content) or None in documents.values():
        name = content.path.split("/")[-2]
        raise StoreError(f"{name}: another process writes it too; let one finish, and run the command again")
    return {name: {"metadata": json_digest(documents[name]), "values": digests[name].hexdigest()} for name in digests}
