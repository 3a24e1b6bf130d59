"""Checksums of what a store holds: of metadata (JSON documents) and of the values of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Self

import numpy as np

from extract.io.json_text import json_digest

CHECKSUM = "checksum"


def with_checksum(attributes: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The attributes with a checksum of them, which holds only for `owner`. Raises ValueError if they are no JSON."""
    bare = {name: value for name, value in attributes.items() if name != CHECKSUM}
    return {**bare, CHECKSUM: json_digest([owner, bare])}


def check_attributes(attributes: Mapping[str, Any], owner: str, *, known: Collection[str], required: bool) -> None:
    """Compare attributes with their checksum.

    Args:
        attributes: as they were read.
        owner: as `with_checksum` was told.
        known: names of the attributes that may stand without a checksum.
        required: whether there must be a checksum.

    Raises:
        ValueError: they are not what was written.
    """
    if CHECKSUM in attributes:
        if with_checksum(attributes, owner) != attributes:
            raise ValueError("its metadata does not match its checksum")
    elif required:
        raise ValueError("its metadata has no checksum")
    elif unknown := sorted(set(attributes) - set(known)):
        raise ValueError(f"its metadata has the unknown name {unknown[0]!r}")


class ValuesDigest:
    """SHA-256 of an array's values, which may come in pieces along the first axis."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, values: np.ndarray) -> Self:
        """Add values: numbers or strings."""
        if values.dtype.kind in "OTU":
            for text in values.ravel():
                encoded = str(text).encode()
                self._digest.update(len(encoded).to_bytes(8, "little") + encoded)
        else:
            self._digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
        return self

    def hexdigest(self) -> str:
        """The digest of all values so far."""
        return self._digest.hexdigest()
