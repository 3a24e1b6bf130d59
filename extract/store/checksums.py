"""Checksums of a store's metadata (JSON documents) and of the values of its arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Self

import numpy as np

from extract.io.json_text import json_digest

CHECKSUM = "checksum"


def with_checksum(attributes: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return attributes with a checksum added.

    The checksum covers `owner` as well, so that attributes copied to another group do not pass the check.

    Args:
        attributes: JSON attributes of a group; an existing checksum is replaced.
        owner: name of the group that the attributes belong to.

    Raises:
        ValueError: the attributes cannot be written as JSON.
    """
    bare = {name: value for name, value in attributes.items() if name != CHECKSUM}
    return {**bare, CHECKSUM: json_digest([owner, bare])}


def check_attributes(attributes: Mapping[str, Any], owner: str, *, known: Collection[str], required: bool) -> None:
    """Compare attributes with their checksum.

    Args:
        attributes: attributes as read from the store, including the checksum if there is one.
        owner: the `owner` that was passed to `with_checksum`.
        known: attribute names that are allowed when there is no checksum.
        required: whether a missing checksum is an error.

    Raises:
        ValueError: the checksum does not match or is missing, or there is none and a name is not in `known`.
    """
    if CHECKSUM in attributes:
        if with_checksum(attributes, owner) != attributes:
            raise ValueError("its metadata does not match its checksum")
    elif required:
        raise ValueError("its metadata has no checksum")
    elif unknown := sorted(set(attributes) - set(known)):
        raise ValueError(f"its metadata has the unknown name {unknown[0]!r}")


class ValuesDigest:
    """SHA-256 of the values of an array, computed incrementally from consecutive slices along the first axis."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, values: np.ndarray) -> Self:
        """Add the next values, numbers or strings of any shape, and return the digest itself."""
        if values.dtype.kind in "OTU":
            for text in values.ravel():
                encoded = str(text).encode()
                self._digest.update(len(encoded).to_bytes(8, "little") + encoded)
        else:
            self._digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
        return self

    def hexdigest(self) -> str:
        """Return the digest of all values so far, in hexadecimal."""
        return self._digest.hexdigest()
