"""What the feature store asks of zarr, and nothing else does: groups that are replaced whole, and errors in words."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.errors import BaseZarrError, ContainsGroupError

from extract.errors import GkcmnError, StoreError, StoreUnreachableError

_GENERATION = "generation"
LONGEST = 200
"""Bytes of a name on one level: file systems take 255, and zarr adds to it as it writes."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What damaged metadata and chunks were seen to raise; codecs raise RuntimeError.
_DAMAGE = (BaseZarrError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, *_ABSENT)


def child(group: zarr.Group | None, name: str) -> zarr.Group | None:
    """A group's subgroup; None if there is none."""
    found = group.get(name) if group is not None else None
    return found if isinstance(found, zarr.Group) else None


def required(group: zarr.Group, name: str) -> zarr.Group:
    """A group's subgroup, made if there is none, be it by another process at this moment."""
    with suppress(ContainsGroupError):
        return group.require_group(name)
    return group.require_group(name)


def is_whole(slot: zarr.Group) -> bool:
    """Whether a slot holds anything that was written to its end."""
    return _GENERATION in slot.attrs


def generation(slot: zarr.Group) -> object:
    """Names what a slot holds; another name is another content."""
    return slot.attrs.get(_GENERATION)


def content(slot: zarr.Group | None) -> zarr.Group | None:
    """What a slot holds; None if nothing, or nothing whole, was written there."""
    return child(slot, str(slot.attrs[_GENERATION])) if slot is not None and is_whole(slot) else None


@contextmanager
def refilling(parent: zarr.Group, name: str, attributes: Mapping[str, Any]) -> Iterator[zarr.Group]:
    """Give an empty group that becomes the content of the slot `name` when the block ends well.

    Until then a reader sees the old content. The slot's attributes name its content, so that one write of
    metadata switches both: what kills a writer, at whatever moment, leaves the old or the new.
    """
    slot = _slot(parent, name)
    old = slot.attrs.get(_GENERATION)
    for left in remains(slot):
        drop(slot, left)
    new = secrets.token_hex(4)
    try:
        yield slot.create_group(new, attributes={_GENERATION: new})
        _check_there(slot, new, name)
        slot.attrs.update({**attributes, _GENERATION: new})
    except BaseException:
        with suppress(OSError):
            del slot[new]
        raise
    if old is not None:
        with suppress(OSError):  # the new content stands; `verify` finds what is left beside it
            del slot[str(old)]


def _slot(parent: zarr.Group, name: str) -> zarr.Group:
    try:
        return parent.require_group(name)
    except (ValueError, KeyError, TypeError, BaseZarrError):  # its metadata is damaged
        drop(parent, name)
        return parent.require_group(name)


def remains(slot: zarr.Group) -> list[str]:
    """What killed writers left in a slot."""
    return [name for name in names(slot) if name != slot.attrs.get(_GENERATION)]


def names(group: zarr.Group | None) -> list[str]:
    """What lies in a group, by name, whether it can be read or not."""
    if group is None:
        return []
    place = group.store_path

    async def listed() -> list[str]:
        return [name async for name in place.store.list_dir(place.path)]

    # A writer that was killed may leave the file that was to become zarr.json.
    return sorted(
        name for name in sync(listed()) if name != "zarr.json" and not re.fullmatch(r"\..*|zarr\..*\.partial", name)
    )


def drop(group: zarr.Group, name: str) -> None:
    """Remove what lies in a group under a name, whether it can be read or not."""
    place = group.store_path / name

    async def removed() -> None:
        if await place.is_empty():
            await place.delete()  # a file, or nothing
        else:
            await place.delete_dir()

    with suppress(FileNotFoundError):  # another process removes it, too
        sync(removed())


def _check_there(slot: zarr.Group, generation: str, name: str) -> None:
    """Raise StoreError if another writer of the slot has taken this one's work for a killed writer's."""
    # A group that was deleted comes back, empty, with the next array that is made in it.
    found = child(slot, generation)
    if found is None or _GENERATION not in found.attrs:
        raise StoreError(f"{name}: another process writes it too; let one finish, and run the command again")


@contextmanager
def reading(place: str, what: str, remedy: str) -> Iterator[None]:
    """Turn what damaged data raises into a StoreError, and what a place does into a StoreUnreachableError."""
    try:
        yield
    except GkcmnError:
        raise
    except _DAMAGE as error:
        raise StoreError(f"{place}: {what} cannot be read ({_first_line(error)}); {remedy}") from error
    except OSError as error:
        raise StoreUnreachableError(
            f"{place}: {what} cannot be read at this moment ({error.strerror or _first_line(error)}); "
            "check rights and connection, and run the same command again"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


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
            f"{place}: {what} cannot be written ({_first_line(error)}); run the same command again"
        ) from error


def level(name: str) -> str:
    """A name as that of one group: readable, and the same on every file system."""
    quoted = quote(name, safe=" ()+,=@")
    if len(quoted) > LONGEST:
        # Cut between characters, and told apart by a digest of the whole.
        kept = re.sub(r"%.?$", "", quoted[: LONGEST - 17])
        quoted = f"{kept}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    # Neither a hidden or parent folder, nor the file in which zarr keeps a group's own metadata.
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") or quoted == "zarr.json" else quoted


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """A group's array. Raises KeyError or TypeError."""
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise TypeError(f"{name} is no array")
    return found


def rows(group: zarr.Group, name: str) -> np.ndarray:
    """A whole array, read into memory."""
    return np.asarray(array(group, name)[:])


def write_strings(group: zarr.Group, name: str, values: Iterable[str], dimension: str) -> None:
    """Write strings as a one-dimensional array."""
    values = np.array(list(values), dtype=object)
    made = group.create_array(name, shape=values.shape, dtype="str", dimension_names=(dimension,))
    made[:] = values
