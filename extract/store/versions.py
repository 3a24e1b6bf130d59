"""What the feature store asks of zarr, and nothing else does: metadata, listings, and errors in words."""

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
"""Bytes of a name on one level: file systems take 255, and zarr adds to it as it writes."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What damaged metadata and chunks were seen to raise; codecs raise RuntimeError.
_DAMAGE = (
    BaseZarrError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
    *_ABSENT,
)  # fmt: skip


def document(place: StorePath) -> dict[str, Any] | None:
    """The metadata of a group or array, as zarr.json has it; None if there is none.

    Raises:
        ValueError: it is no JSON object.
    """
    found = sync((place / _METADATA).get(prototype=default_buffer_prototype()))
    if found is None:
        return None
    content = parse_json(found.to_bytes(), has_paths=True)
    if not isinstance(content, dict):
        raise ValueError(f"{_METADATA} is no JSON object")  # noqa: TRY004 - damage, as what cannot be parsed is
    return content


def group_attributes(place: StorePath) -> dict[str, Any] | None:
    """The attributes of a group; None if there is no metadata. Raises ValueError if it is another node's."""
    found = document(place)
    if found is None:
        return None
    attributes = found.get("attributes", {})
    kinds = (found.get("zarr_format"), found.get("node_type"))
    if kinds != (3, "group") or not isinstance(attributes, dict) or set(found) - _GROUP_FIELDS:
        raise ValueError(f"{_METADATA} is not that of a Zarr v3 group")
    return attributes


def write_group(place: StorePath, attributes: Mapping[str, Any]) -> None:
    """Make a group, or replace its attributes, in one write."""
    text = json.dumps({"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}, indent=2)
    sync((place / _METADATA).set(default_buffer_prototype().buffer.from_bytes(text.encode())))


def open_array(place: StorePath, metadata: dict[str, Any]) -> zarr.Array[Any]:
    """An array whose metadata was read before. Raises ValueError, TypeError or KeyError."""
    if metadata.get("node_type") != "array":
        raise TypeError(f"{place.path.rpartition('/')[2]} is no array")
    return zarr.Array.from_dict(place, metadata)


def stored_sizes(places: Iterable[StorePath]) -> list[int]:
    """The bytes of each file; 0 where there is none."""

    async def size(place: StorePath) -> int:
        with suppress(*_ABSENT):
            return await place.store.getsize(place.path)
        return 0

    async def sizes() -> list[int]:
        return await asyncio.gather(*map(size, places))

    return sync(sizes())


def names(place: StorePath) -> list[str]:
    """What lies in a group, by name, whether it can be read or not; nothing where no group is."""

    async def listed() -> list[str]:
        return [name async for name in place.store.list_dir(place.path)]

    # A writer that was killed may leave the file that was to become zarr.json.
    return sorted(
        name for name in sync(listed()) if name != "zarr.json" and not re.fullmatch(r"\..*|zarr\..*\.partial", name)
    )


def drop(place: StorePath) -> None:
    """Remove what lies at a place, whether it can be read or not."""

    async def removed() -> None:
        if await place.is_empty():
            await place.delete()  # a file, or nothing
        else:
            await place.delete_dir()

    with suppress(FileNotFoundError):  # another process removes it, too
        sync(removed())


@contextmanager
def reading(place: str, what: str, remedy: str) -> Iterator[None]:
    """Turn what damaged data raises into a StoreError, and what a place does into a StoreUnreachableError."""
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
    """Turn what an unwritable place raises into a StoreError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, GkcmnError):
            raise  # the reader's own, on its way through
        raise StoreError(
            f"{place}: {what} cannot be written ({error.strerror or error}); "
            "free the disk or allow writing, and run the same command again"
        ) from error
    except BaseZarrError as error:
        raise StoreError(
            f"{place}: {what} cannot be written ({first_line(error)}); run the same command again"
        ) from error


def level(name: str) -> str:
    """A name as that of one group: readable, and the same on every file system."""
    quoted = quote(name, safe=" ()+,=@", errors="surrogateescape")
    if len(quoted) > LONGEST:
        # Cut between characters, and told apart by a digest of the whole.
        kept = re.sub(r"%.?$", "", quoted[: LONGEST - 17])
        quoted = f"{kept}~{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}"
    # Neither a hidden or parent folder, nor the file in which zarr keeps a group's own metadata.
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") or quoted == "zarr.json" else quoted


def unlevel(name: str) -> str:
    """What `level` made of a name, undone; of a long one, its beginning."""
    return unquote(name, errors="surrogateescape")
