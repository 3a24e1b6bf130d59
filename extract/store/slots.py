"""Groups of arrays that are replaced whole, and whose every part has a checksum.

A slot's attributes name the generation that holds its arrays, the checksums of each array's metadata and values,
and the checksum of all attributes. A slot without checksums was written by a version that knew none.
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
"""Files of one array; more are a damaged shape."""
COMPRESSORS = (ZstdCodec(level=1), Crc32cCodec())
"""Measured in docs/decisions.md. What passes for whole without the checksum may have a flipped bit."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What lies in a slot, whose attributes were compared with their checksum."""

    place: StorePath
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the slot, on its level."""
        return self.place.path.rpartition("/")[2]

    @property
    def generation(self) -> str:
        """Names what the slot holds; another name is another content."""
        return self.attributes[GENERATION]

    @property
    def has_checksums(self) -> bool:
        """Whether its parts have checksums."""
        return CHECKSUM in self.attributes

    @property
    def content(self) -> StorePath:
        """Where its arrays lie."""
        return self.place / self.generation

    def array(self, name: str) -> zarr.Array[Any]:
        """An array, whose metadata is compared with its checksum, and whose values are not.

        Raises:
            ValueError: it is not there, or its metadata is not what was written.
            TypeError: it is no array.
        """
        metadata = document(self.content / name)
        if metadata is None:
            raise ValueError(f"{name} is gone")
        if self.has_checksums and json_digest(metadata) != self.attributes[ARRAYS][name]["metadata"]:
            raise ValueError(f"the metadata of {name} does not match its checksum")
        return open_array(self.content / name, metadata)

    def rows(self, name: str) -> np.ndarray:
        """A whole array, read into memory and compared with its checksum. Raises as `array`."""
        array = self.array(name)
        if not self.has_checksums and is_missing_pieces(array):
            raise ValueError(f"pieces of {name} are gone")
        values = np.asarray(array[:])
        if self.has_checksums:
            self.check_values(name, ValuesDigest().update(values))
        return values

    def check_values(self, name: str, digest: ValuesDigest) -> None:
        """Compare the digest of an array's values with the checksum. Raises ValueError."""
        if digest.hexdigest() != self.attributes[ARRAYS][name]["values"]:
            raise ValueError(f"the values of {name} do not match their checksum")

    def remains(self) -> list[str]:
        """What killed writers left beside the content."""
        return [name for name in names(self.place) if name != self.generation]


def read_slot(place: StorePath, *, known: Collection[str], required: bool) -> Slot | None:
    """The slot at a place; None if nothing was written there, or nothing to its end.

    Args:
        place: of the slot.
        known: names of the attributes that its owner gives it.
        required: whether there must be checksums.

    Raises:
        ValueError: it is damaged, or its metadata is gone and other parts are not.
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
    """Arrays that are being written into a slot."""

    group: zarr.Group
    digests: dict[str, ValuesDigest] = field(default_factory=dict)
    """Of the values of each array that was written."""

    def write(self, name: str, values: np.ndarray, dimensions: tuple[str, ...]) -> None:
        """Write a whole array: numbers, or strings as objects."""
        array = self.create(
            name,
            shape=values.shape,
            dtype="str" if values.dtype == object else values.dtype,
            dimension_names=dimensions,
        )
        array[:] = values
        self.digests[name].update(values)

    def create(self, name: str, **options: Any) -> zarr.Array[Any]:  # noqa: ANN401 - zarr's own options
        """Make an array to be written in pieces, each of which its digest is given."""
        self.digests[name] = ValuesDigest()
        # A piece of nothing but fill values is written too, so that a missing one is always damage.
        return self.group.create_array(name, compressors=COMPRESSORS, config={"write_empty_chunks": True}, **options)


@contextmanager
def refilling(place: StorePath, attributes: Mapping[str, Any]) -> Iterator[NewContent]:
    """Give an empty group that becomes the content of the slot at `place` when the block ends well.

    Until then a reader sees the old content. The slot's attributes name its content, so that one write of
    metadata switches both: what kills a writer, at whatever moment, leaves the old or the new.
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
        with suppress(OSError):  # the new content stands; `verify` finds what is left beside it
            drop(place / old)


def add_checksums(slot: Slot, digests: Mapping[str, ValuesDigest], *, known: Collection[str]) -> bool:
    """Give a slot checksums of what was read of it; return whether it holds that still.

    Args:
        slot: without checksums.
        digests: of the values of its arrays.
        known: as `read_slot` takes it.
    """
    filled = _filled(slot.content, digests)
    now = read_slot(slot.place, known=known, required=False)
    if now is None or now.attributes != slot.attributes:
        return False
    write_group(slot.place, with_checksum({**slot.attributes, ARRAYS: filled}, slot.name))
    return True


def is_missing_pieces(array: zarr.Array[Any]) -> bool:
    """Whether pieces of an array are gone or empty, which would read as zeros. Raises ValueError if it has too many."""
    sides = [-(-extent // size) for extent, size in zip(array.shape, array.shards or array.chunks, strict=True)]
    if prod(sides) > MOST_PIECES:
        raise ValueError(f"its shape {array.shape} cannot be true")
    keys = [array.metadata.encode_chunk_key(piece) for piece in product(*map(range, sides))]
    return not all(stored_sizes([array.store_path / key for key in keys]))


def _old_generation(place: StorePath) -> str | None:
    """The content that a slot has, which is made if there is none. What is damaged has none."""
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
    """The checksums of arrays that were written. Raises StoreError if another writer has removed them."""
    # A group that was deleted comes back with the next array that is made in it, but without its metadata.
    documents = {name: document(content / name) for name in digests}
    if not group_attributes(content) or None in documents.values():
        name = content.path.split("/")[-2]
        raise StoreError(f"{name}: another process writes it too; let one finish, and run the command again")
    return {name: {"metadata": json_digest(documents[name]), "values": digests[name].hexdigest()} for name in digests}
