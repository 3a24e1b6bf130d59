"""Low-level access to Zarr for the feature store: metadata files, listings, group names, and error conversion."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.errors import BaseZarrError
from zarr.storage import StorePath

from extract.errors import GkcmnError, StoreError, StoreUnreachableError, first_line
from extract.io.json_text import parse_json

_METADATA = "zarr.json"
_GROUP_FIELDS = {"attributes", "zarr_format", "node_type", "consolidated_metadata"}
LONGEST = 200
"""Maximum length of a group name in bytes. File systems allow 255, and zarr appends to names of temporary files."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# Exceptions that damaged metadata and chunks were observed to raise; codecs raise RuntimeError.
_DAMAGE = (
    BaseZarrError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
    *_ABSENT,
)  # fmt: skip


def document(place: StorePath) -> dict[str, Any] | None:
    """Return the content of zarr.json of a group or array; None if the file is missing.

    Raises:
        ValueError: the file does not contain a JSON object.
    """
    found = sync((place / _METADATA).get(prototype=default_buffer_prototype()))
    if found is None:
        return None
    content = parse_json(found.to_bytes(), has_paths=True)
    if not isinstance(content, dict):
        raise ValueError(f"{_METADATA} is no JSON object")  # noqa: TRY004 - damage, like invalid JSON
    return content


def group_attributes(place: StorePath) -> dict[str, Any] | None:
    """Return the attributes of a group; None if its zarr.json is missing.

    Raises:
        ValueError: the file is not the metadata of a Zarr v3 group.
    """
    found = document(place)
    if found is None:
        return None
    attributes = found.get("attributes", {})
    kinds = (found.get("zarr_format"), found.get("node_type"))
    if kinds != (3, "group") or not isinstance(attributes, dict) or set(found) - _GROUP_FIELDS:
        raise ValueError(f"{_METADATA} is not that of a Zarr v3 group")
    return attributes


def write_group(place: StorePath, attributes: Mapping[str, Any]) -> None:
    """Create a group, or replace the attributes of an existing one, in a single write."""
    text = json.dumps({"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}, indent=2)
    sync((place / _METADATA).set(default_buffer_prototype().buffer.from_bytes(text.encode())))


def open_array(place: StorePath, metadata: dict[str, Any]) -> zarr.Array[Any]:
    """Open an array from its metadata.

    Args:
        place: path of the array.
        metadata: content of its zarr.json, as `document` returns it.

    Raises:
        TypeError: the node is not an array.
        ValueError: the metadata is invalid.
        KeyError: the metadata lacks a field.
    """
    if metadata.get("node_type") != "array":
        raise TypeError(f"{place.path.rpartition('/')[2]} is no array")
    return zarr.Array.from_dict(place, metadata)


def stored_sizes(places: Iterable[StorePath]) -> list[int]:
    """Return the size of each file in bytes; 0 if a file is missing."""

    async def size(place: StorePath) -> int:
        with suppress(*_ABSENT):
            return await place.store.getsize(place.path)
        return 0

    async def sizes() -> list[int]:
        return await asyncio.gather(*map(size, places))

    return sync(sizes())


def names(place: StorePath) -> list[str]:
    """Return the sorted names of a group's children, readable or not; an empty list if there is no group."""

    async def listed() -> list[str]:
        return [name async for name in place.store.list_dir(place.path)]

    # A killed writer can leave a temporary file of zarr.json behind.
    return sorted(
        name for name in sync(listed()) if name != "zarr.json" and not re.fullmatch(r"\..*|zarr\..*\.partial", name)
    )


def drop(place: StorePath) -> None:
    """Remove a group, array or file, readable or not; do nothing if it does not exist."""

    async def removed() -> None:
        if await place.is_empty():
            await place.delete()  # a file, or a path that does not exist
        else:
            await place.delete_dir()

    with suppress(FileNotFoundError):  # another process is removing it at the same time
        sync(removed())


@contextmanager
def reading(place: str, what: str, remedy: str) -> Iterator[None]:
    """Convert exceptions of a block that reads a store.

    Args:
        place: path or URL of the store, for the message.
        what: the part that is read, for the message.
        remedy: advice for the user, for the message.

    Raises:
        StoreError: the block raised an exception that indicates damaged data.
        StoreUnreachableError: the block raised another OSError, for example for missing permissions.
    """
    try:
        yield
    except GkcmnError:
        raise
    except _DAMAGE as error:
        raise StoreError(f"{place}: {what} cannot be read ({first_line(error)}); {remedy}") from error
    except OSError as error:
        raise StoreUnreachableError(
            f"{place}: {what} cannot be read at this moment ({error.strerror or first_line(error)}); "
            "check rights and connection, and run the same command again"
        ) from error


@contextmanager
def writing(place: str, what: str) -> Iterator[None]:
    """Convert exceptions of a block that writes a store.

    Args:
        place: path or URL of the store, for the message.
        what: the part that is written, for the message.

    Raises:
        StoreError: the store cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, GkcmnError):
            raise  # already converted by `reading`
        raise StoreError(
            f"{place}: {what} cannot be written ({error.strerror or error}); "
            "free the disk or allow writing, and run the same command again"
        ) from error
    except BaseZarrError as error:
        raise StoreError(
            f"{place}: {what} cannot be written ({first_line(error)}); run the same command again"
        ) from error


def level(name: str) -> str:
    """Return a name as a valid name of a single group, percent-encoded and portable between file systems.

    A name that would exceed LONGEST bytes is shortened and gets a digest of the full name as a suffix.
    """
    quoted = quote(name, safe=" ()+,=@", errors="surrogateescape")
    if len(quoted) > LONGEST:
        # Do not cut within a percent escape. The digest of the full name keeps shortened names distinct.
        kept = re.sub(r"%.?$", "", quoted[: LONGEST - 17])
        quoted = f"{kept}~{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}"
    # Escape the dot of names that would be hidden files or parent folders, or clash with zarr's metadata file.
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") or quoted == "zarr.json" else quoted


def unlevel(name: str) -> str:
    """Return the name from which `level` made a group name; for a shortened one, only its start and the digest."""
    return unquote(name, errors="surrogateescape")
