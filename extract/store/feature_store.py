"""The feature store: one Zarr v3 hierarchy with the results of extraction.

    /                      attributes: schema_version, settings (the extraction settings of all videos)
    /videos/               attributes: a copy of the root's, from which `restore` repairs a damaged root
    /videos/<key>/         attributes: VideoRecord's fields, and the name of the current version
        <generation>/i3d          float16 (clip, channel, y, x)
        <generation>/clip_frames  int32   (clip, range)
        <generation>/frame_times  float64 (edge,): seconds
    /failures/<key>/       attributes: Failure's fields; removed once the video succeeds
    /text/<encoding>/      attributes: unknown words, and the name of the current version
        <generation>/queries      str     (query,)
        <generation>/word_ids     int32   (query, word): rows of `words`, -1 after the last word
        <generation>/words        str     (entry,)
        <generation>/vectors      float32 (entry, dim)

Keys and names of encodings are percent-encoded into the name of a single group. <generation> is the name of a version.
A new version is written next to the old one, and the attributes refer to it only once it is complete, so readers never
see an incomplete version, even if the writer is killed.

All attributes have a checksum; the attributes of a slot also contain the checksums of its arrays
(`extract.store.slots`). In a store of schema version 3, parts that an earlier release wrote have no checksums.
docs/store.md describes which damage is detected and how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import zarr
from zarr.errors import BaseZarrError, ContainsGroupError
from zarr.storage import StorePath

from extract.clips import each_clip, pool_clips
from extract.errors import StoreError, StoreMismatchError, first_line
from extract.io.files import shown
from extract.records import EncodedQuery, Failure, VideoFeatures, VideoRecord, from_fields
from extract.store.checksums import ValuesDigest, check_attributes, with_checksum
from extract.store.slots import NewContent, Slot, add_checksums, is_missing_pieces, read_slot, refilling
from extract.store.versions import (
    drop,
    group_attributes,
    level,
    names,
    reading,
    unlevel,
    write_group,
    writing,
)

SCHEMA_VERSION = 4
UNCHECKED_VERSION = 3
"""Older schema version, in which checksums are optional. Such stores can be read and extended;
`FeatureStore.upgrade` converts them to SCHEMA_VERSION."""
GONE = "pieces of its features are gone"
CLIPS_PER_CHUNK = 16
CLIPS_PER_SHARD = 64
"""Clips per file. One writer writes each shard at once from a buffer of this size, which limits the number of files
and the memory."""
FLOAT16_MAX = 65504.0
_RECORD_FIELDS = frozenset(field.name for field in fields(VideoRecord))
_FAILURE_FIELDS = frozenset(field.name for field in fields(Failure))
_QUERY_FIELDS = frozenset({"unknown"})
_ROOT_FIELDS = frozenset({"schema_version", "settings"})
_ROOT, _COPY = "store", "videos"
"""Owner names in the checksums of the root's attributes and of their copy."""
_GOING_S = (0.0, 0.02, 0.1)
"""Pauses before each attempt to read a failure. A failure that still has no metadata after the last attempt is damaged;
before that, another process may be removing it."""
StoreList = Literal["videos", "failures", "text"]
"""Name of a top-level group, whose children are videos, failures or encodings."""


class FeatureStore:
    """Video features and encoded queries in one store: a local folder or any fsspec URL."""

    def __init__(self, place: str, root: zarr.Group, attributes: Mapping[str, Any]) -> None:
        """Wrap an open root group; use `open` or `open_for` instead.

        Args:
            place: path or URL of the store as shown in messages, without credentials.
            root: root group of the store.
            attributes: attributes of the root, which match their checksum.
        """
        self.place = place
        self.root = root.store_path
        """Path of the root group, for `extract.store.audit` and `extract.store.mend`."""
        self._attributes = attributes

    @classmethod
    def open(cls, place: str | Path, *, writable: bool = False) -> Self:
        """Open an existing store.

        Args:
            place: path or fsspec URL of the store.
            writable: whether to open it for writing too.

        Raises:
            StoreError: there is no store, it is damaged, cannot be reached, or has an unsupported schema version.
        """
        address, place = str(place), shown(str(place))
        try:
            root = zarr.open_group(
                _zarr_place(address), mode="r+" if writable else "r", zarr_format=3, use_consolidated=False
            )
            attributes = group_attributes(root.store_path) or {}
        except (FileNotFoundError, BaseZarrError) as error:
            if _copy(address) is not None:
                raise StoreError(f"{place}: its root zarr.json is gone; {_root_remedy(address)}") from error
            if not _is_empty(address):
                raise StoreError(f"{place}: holds other files and no feature store; name another place") from error
            raise StoreError(
                f"{place}: no feature store; make one with: gkcmn-pipe features VIDEOS --store {place}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, ImportError) as error:
            if isinstance(error, FileExistsError | NotADirectoryError):
                raise StoreError(f"{place}: is a file; a feature store is a folder: name another place") from error
            raise StoreError(
                f"{place}: not a readable feature store ({first_line(error)}); {_root_remedy(address)}"
            ) from error
        except Exception as error:
            if "://" not in address:
                raise
            raise _unreachable(place, error) from error
        version = attributes.get("schema_version")
        try:
            check_attributes(attributes, _ROOT, known=_ROOT_FIELDS, required=version == SCHEMA_VERSION)
        except ValueError as error:
            raise StoreError(f"{place}: its root zarr.json is damaged ({error}); {_root_remedy(address)}") from error
        if version not in (SCHEMA_VERSION, UNCHECKED_VERSION):
            raise StoreError(
                f"{place}: its schema version is {version}, this program reads {SCHEMA_VERSION}; "
                "extract the features again into a new store"
            )
        return cls(place, root, attributes)

    @staticmethod
    def exists(place: str | Path) -> bool:
        """Return whether a path or URL exists and is not empty; it need not be a store.

        Raises:
            StoreError: the path or URL cannot be reached.
        """
        return not _is_empty(str(place))

    @classmethod
    def open_if_any(cls, place: str | Path) -> Self | None:
        """Open a store that is optional, such as the default one; return None if there is none or it is unreadable."""
        try:
            return cls.open(place) if cls.exists(place) else None
        except StoreError:
            return None

    @classmethod
    def open_for(cls, place: str | Path, settings: Mapping[str, Any], *, create: bool = True) -> Self:
        """Open a store for writing; create it if it does not exist.

        Args:
            place: path or fsspec URL of the store.
            settings: extraction settings, which must equal those of an existing store.
            create: whether to create a store that does not exist.

        Raises:
            StoreMismatchError: the store was created with other settings.
            StoreError: the path contains something else or, with `create` false, nothing; or it cannot be written.
        """
        address = str(place)
        place = shown(address)
        attributes = {"schema_version": SCHEMA_VERSION, "settings": dict(settings)}
        if create and _is_empty(address):
            # Another process may create it at the same time.
            with writing(place, "the store"), suppress(ContainsGroupError):
                zarr.create_group(_zarr_place(address), zarr_format=3, attributes=with_checksum(attributes, _ROOT))
        store = cls.open(address, writable=True)
        if create:
            store.complete()
        differing = [
            f"{name} is {store.settings.get(name)!r} there and {value!r} now"
            for name, value in settings.items()
            if store.settings.get(name) != value
        ]
        if differing:
            raise StoreMismatchError(
                f"{place}: made with other settings ({'; '.join(differing)}); use the same settings or another --store"
            )
        return store

    def complete(self) -> None:
        """Create the groups `failures` and `videos` of a new store; do nothing if `videos` exists.

        Raises:
            StoreError: the store cannot be read or written.
        """
        videos = self.root / "videos"
        with reading(self.place, "the list of its videos", self._mend):
            is_there = group_attributes(videos) is not None or names(videos)
        if not is_there:
            with writing(self.place, "the store"):
                write_group(self.root / "failures", self.list_attributes("failures"))
                write_group(videos, self.list_attributes("videos"))

    def list_attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes that a top-level group must have.

        Args:
            name: "videos", "failures" or "text".
        """
        return with_checksum(self._attributes, _COPY) if name == "videos" and self.needs_checksums else {}

    @classmethod
    def restore(cls, place: str | Path) -> bool:
        """Restore a damaged root from the copy of its attributes in `videos`.

        Args:
            place: path or fsspec URL of the store.

        Returns:
            True if the root was damaged and has been restored; False if it is undamaged or has no valid copy.

        Raises:
            StoreError: the root cannot be written.
        """
        address = str(place)
        copy = _copy(address)
        if copy is None:
            return False
        videos, attributes = copy
        root = StorePath(videos.store, videos.path.rpartition("/")[0])
        with suppress(ValueError):
            found = group_attributes(root)
            check_attributes(found or {}, _ROOT, known=(), required=True)
            return False
        with writing(shown(address), "its root"):
            writable = zarr.open_group(
                _zarr_place(address), path="videos", mode="r+", zarr_format=3, use_consolidated=False
            )
            write_group(StorePath(writable.store_path.store, root.path), with_checksum(attributes, _ROOT))
        return True

    def upgrade(self) -> None:
        """Set the schema version to SCHEMA_VERSION, which requires checksums of all parts.

        Raises:
            StoreError: the root cannot be written.
        """
        self._attributes = {"schema_version": SCHEMA_VERSION, "settings": dict(self.settings)}
        with writing(self.place, "its root"):
            write_group(self.root / "videos", self.list_attributes("videos"))
            write_group(self.root, with_checksum(self._attributes, _ROOT))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The extraction settings, which are the same for all videos. Raises StoreError if they are missing."""
        with reading(self.place, "its settings", "extract the features again into a new store"):
            return dict(self._attributes["settings"])

    @property
    def needs_checksums(self) -> bool:
        """Whether all parts must have checksums; False for stores of schema version 3."""
        return self._attributes["schema_version"] == SCHEMA_VERSION

    @property
    def _mend(self) -> str:
        return f"mend it with: gkcmn-pipe verify {self.place} --repair"

    # Videos

    @property
    def channels(self) -> int:
        """The number of channels of the feature maps. Raises StoreError if the store contains no video."""
        for key in self.keys():
            with self._reading(key):
                return int(self._present(key).array("i3d").shape[1])
        raise StoreError(
            f"{self.place}: holds no video yet; extract some with: gkcmn-pipe features VIDEOS --store {self.place}"
        )

    def keys(self) -> Iterator[str]:
        """Yield the keys of all complete videos, in no particular order. Raises StoreError at a damaged video."""
        for name in self._names():
            with self._reading(unlevel(name)):
                slot = self._slot(name)
                key = _record(slot).key if slot is not None else None
            if key is not None:
                yield key

    def record(self, key: str) -> VideoRecord | None:
        """Return the record of a complete video; None if there is none. Raises StoreError if it is damaged."""
        slot = self.slot(key)
        if slot is None:
            return None
        with self._reading(key):
            return _record(slot)

    def read(self, key: str, groups_of: Callable[[np.ndarray], np.ndarray] = each_clip) -> VideoFeatures:
        """Read the features of a video, or their means over groups of clips.

        When means are read, the features of all clips are never in memory at once.

        Args:
            key: key of the video.
            groups_of: function from `clip_frames`, int32 (clip, 2), to the groups for `pool_clips`, int (step, 2);
                by default each clip is its own group.

        Raises:
            StoreError: the store does not contain the video, or the features are damaged.
        """
        while (slot := self.slot(key)) is not None:
            with self._reading(key):
                try:
                    found, missing = _read(slot, groups_of)
                except Exception:
                    if self._is_replaced(key, slot):
                        continue
                    raise
                # Missing chunks read as zeros (Zarr's fill value), and so do those of a version that another process
                # replaces during the read. The latter is read again.
                if self._is_replaced(key, slot):
                    continue
                if missing:
                    raise ValueError(GONE)
                return found
        raise self._no_video(key)

    def _is_replaced(self, key: str, slot: Slot) -> bool:
        now = self.slot(key)
        return now is not None and now.generation != slot.generation

    def lazy(self, key: str) -> zarr.Array[Any]:
        """Return a lazy array of a video's features, float16 (clip, channel, 7, 7); slicing it reads them.

        Raises:
            StoreError: the store does not contain the video, or a shard is missing. Values are not checked.
        """
        slot = self._present(key)
        with self._reading(key):
            return _maps(slot)

    def pieces(self, key: str) -> Iterator[np.ndarray]:
        """Yield the features of a video in consecutive arrays, float16 (clip, channel, 7, 7).

        Each array has CLIPS_PER_SHARD clips, the last one possibly fewer, so memory does not grow with the video.

        Args:
            key: key of the video.

        Raises:
            StoreError: the store does not contain the video, or it is damaged. A mismatch with the checksum of the
                values is raised after the last array.
        """
        slot = self._present(key)
        with self._reading(key):
            maps, digest = _maps(slot), ValuesDigest()
        for start in range(0, maps.shape[0], CLIPS_PER_SHARD):
            with self._reading(key):
                piece = np.asarray(maps[start : start + CLIPS_PER_SHARD])
            digest.update(piece)
            yield piece
        if slot.has_checksums:
            with self._reading(key):
                slot.check_values("i3d", digest)

    def times(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Return `clip_frames`, int32 (clip, 2), and `frame_times`, float64 (frame + 1,) in seconds, of a video.

        `VideoFeatures` describes both.

        Raises:
            StoreError: the store does not contain the video, or it is damaged.
        """
        slot = self._present(key)
        with self._reading(key):
            return slot.rows("clip_frames"), slot.rows("frame_times")

    @contextmanager
    def write(self, key: str, *, channels: int) -> Iterator[VideoWriter]:
        """Write the features of a video; they replace existing ones when the block ends without an error.

        In the block, append all clips to the yielded writer, then call `VideoWriter.finish`.

        Args:
            key: key of the video.
            channels: number of channels of its feature maps.

        Raises:
            StoreError: the store cannot be written, or `VideoWriter.finish` was not called.
        """
        attributes: dict[str, Any] = {}
        with (
            writing(self.place, repr(key)),
            refilling(self.root / "videos" / level(key), attributes) as content,
        ):
            maps = content.create(
                "i3d",
                shape=(0, channels, 7, 7),  # start empty and grow: a container's frame count is unreliable
                dtype="float16",
                chunks=(CLIPS_PER_CHUNK, channels, 7, 7),
                shards=(CLIPS_PER_SHARD, channels, 7, 7),
                dimension_names=("clip", "channel", "y", "x"),
            )
            writer = VideoWriter(content, maps)
            yield writer
            if writer.record is None:
                raise StoreError(f"{key}: its writing was not finished; extract it again")
            attributes |= asdict(writer.record)
        self.forget_failure(key)

    def _no_video(self, key: str) -> StoreError:
        return StoreError(
            f"{self.place}: holds no video {key!r}; extract it with: gkcmn-pipe features VIDEO --store {self.place}"
        )

    def slot(self, key: str) -> Slot | None:
        """Return the slot of a complete video; None if there is none. Raises StoreError if it is damaged."""
        with self._reading(key):
            slot = self._slot(level(key))
            if slot is not None and slot.attributes.get("key") != key:
                raise ValueError("its metadata is that of another video")
            return slot

    def _slot(self, name: str) -> Slot | None:
        """Return the slot of a video, None if it is not complete, by group name. Raises the errors of `read_slot`."""
        place = self.root / "videos" / name
        return read_slot(place, known=_RECORD_FIELDS, required=self.needs_checksums)

    def _present(self, key: str) -> Slot:
        if (slot := self.slot(key)) is None:
            raise self._no_video(key)
        return slot

    def _reading(self, key: str) -> AbstractContextManager[None]:
        return reading(self.place, f"{key!r}", "it is damaged: extract it again with --redo")

    # Failures

    def failures(self) -> list[Failure]:
        """Return all stored failures, sorted by key. Raises StoreError if one is damaged or their list is missing."""
        with self._reading_failures():
            found = [self._failure(name) for name in self._failure_names()]
            return sorted((failure for failure in found if failure is not None), key=lambda failure: failure.key)

    def note_failure(self, failure: Failure) -> None:
        """Store a failure, which `write` removes once the video succeeds.

        Raises:
            StoreError: the list of failures is missing, or it cannot be written.
        """
        with self._reading_failures():
            self._failure_names()  # Raise if the list is missing instead of silently starting a new one.
        name = level(failure.key)
        with writing(self.place, "a failure"):
            write_group(self.root / "failures" / name, with_checksum(asdict(failure), name))

    def forget_failure(self, key: str) -> None:
        """Remove the failure of a video, if there is one. Raises StoreError if the store cannot be written."""
        with writing(self.place, "a failure"):
            if level(key) in names(self.root / "failures"):
                drop(self.root / "failures" / level(key))

    def _failure_names(self) -> list[str]:
        """Return the group names of all failures. Raises ValueError if their list is missing."""
        found = names(self.root / "failures")
        if not found and self.needs_checksums and group_attributes(self.root / "failures") is None:
            raise ValueError("it is gone")
        return found

    def check_failure(self, name: str) -> None:
        """Read a failure by its group name. Raises StoreError if it is damaged."""
        with reading(self.place, "it", self._mend):
            self._failure(name)

    def _failure(self, name: str) -> Failure | None:
        """Return a failure; None if another process has just removed it. Raises ValueError if it is damaged."""
        place = self.root / "failures" / name
        for pause_s in _GOING_S:
            time.sleep(pause_s)
            if attributes := group_attributes(place):
                check_attributes(attributes, name, known=_FAILURE_FIELDS, required=self.needs_checksums)
                return from_fields(Failure, attributes)
            if name not in names(self.root / "failures"):
                return None
        raise ValueError(f"the metadata of {unlevel(name)} is gone")

    def _reading_failures(self) -> AbstractContextManager[None]:
        return reading(self.place, "the list of failures", self._mend)

    # Queries

    def queries(self, encoding: str) -> dict[str, EncodedQuery]:
        """Return the encoded queries of one encoding, by query; empty if there are none.

        Args:
            encoding: name of the encoding, from `pipeline.data.queries.encoding_name`.

        Raises:
            StoreError: the queries are damaged.
        """
        with reading(self.place, f"its queries ({encoding})", self._mend):
            slot = self._encoding(level(encoding))
            return {} if slot is None else _queries(slot)

    def check_queries(self, name: str) -> Slot | None:
        """Read all arrays of an encoding and return its slot; None if it does not exist.

        Args:
            name: group name of the encoding.

        Raises:
            StoreError: the encoding is damaged.
        """
        with reading(self.place, "they", self._mend):
            slot = self._encoding(name)
            if slot is not None:
                _queries(slot)
            return slot

    def _encoding(self, name: str) -> Slot | None:
        place = self.root / "text" / name
        return read_slot(place, known=_QUERY_FIELDS, required=self.needs_checksums)

    def add_queries(self, encoding: str, encoded: Mapping[str, EncodedQuery]) -> None:
        """Add queries to an encoding; readers see either the previous queries or all of them.

        Args:
            encoding: name of the encoding, from `pipeline.data.queries.encoding_name`.
            encoded: encoded queries, by query; at least one.

        Raises:
            StoreError: existing queries are damaged, or the store cannot be written.
        """
        merged = {**self.queries(encoding), **encoded}
        entries: dict[str, np.ndarray] = {}
        for query in merged.values():
            entries.update(zip(query.words, query.vectors, strict=True))
        row_of = {word: row for row, word in enumerate(entries)}
        longest = max(len(query.words) for query in merged.values())
        ids = np.full((len(merged), longest), -1, np.int32)
        for line, query in zip(ids, merged.values(), strict=True):
            line[: len(query.words)] = [row_of[word] for word in query.words]
        unknown = sorted({word for query in merged.values() for word in query.unknown})
        place = self.root / "text"
        with reading(self.place, "the list of its queries", self._mend):
            is_new = group_attributes(place) is None
        with writing(self.place, "its queries"):
            if is_new:
                write_group(place, {})
            with refilling(place / level(encoding), {"unknown": unknown}) as content:
                content.write("queries", np.array(list(merged), object), ("query",))
                content.write("words", np.array(list(row_of), object), ("entry",))
                content.write("word_ids", ids, ("query", "word"))
                content.write("vectors", np.stack(list(entries.values())), ("entry", "dim"))

    # Checks and repair

    def count(self) -> int:
        """Return the number of videos, including incomplete and damaged ones.

        Raises:
            StoreError: the list of videos cannot be read.
        """
        with reading(self.place, "the list of its videos", self._mend):
            return len(names(self.root / "videos"))

    def all_keys(self) -> Iterator[str]:
        """Yield the keys of all videos, including incomplete and damaged ones.

        Raises:
            StoreError: the list of videos is missing or cannot be read.
        """
        for name in self._names():
            yield self._key(name)

    def _key(self, name: str) -> str:
        """Return the key of a slot, by group name; if its attributes lack the key, decode it from the name."""
        with suppress(StoreError), self._reading(name):
            attributes = group_attributes(self.root / "videos" / name) or {}
            key = attributes.get("key")
            if isinstance(key, str) and level(key) == name:
                return key
        return unlevel(name)

    def _names(self) -> list[str]:
        with reading(self.place, "the list of its videos", self._mend):
            found = names(self.root / "videos")
            if not found and group_attributes(self.root / "videos") is None:
                raise ValueError("it is gone")
            return found

    def add_checksums(self, key: str, i3d: ValuesDigest) -> bool:
        """Add checksums to a video, unless it has been replaced since its features were read.

        Args:
            key: key of a complete video without checksums.
            i3d: digest of its features.

        Returns:
            Whether the checksums were added.

        Raises:
            StoreError: the video is missing or damaged, or the store cannot be written.
        """
        slot = self._present(key)
        with self._reading(key):
            digests = {name: ValuesDigest().update(slot.rows(name)) for name in ("clip_frames", "frame_times")}
        with writing(self.place, repr(key)):
            return add_checksums(slot, {"i3d": i3d, **digests}, known=_RECORD_FIELDS)

    def remove(self, key: str) -> None:
        """Remove a video, complete or not; do nothing if there is none. Raises StoreError if it cannot be removed."""
        videos = self.root / "videos"
        with writing(self.place, repr(key)):
            for name in names(videos):
                # If the slot is damaged, `key` was decoded from the group name, which is shortened for long keys, so
                # encoding it again may give another name.
                if level(key) == name or unlevel(name) == key:
                    drop(videos / name)


class VideoWriter:
    """Writes the features of a video shard by shard; made by `FeatureStore.write`."""

    def __init__(self, content: NewContent, maps: zarr.Array[Any]) -> None:
        self._content = content
        self._maps = maps
        # Reuse one buffer: with a new buffer for each shard, the memory of the process grew with the video.
        self._shard = np.empty((CLIPS_PER_SHARD, *maps.shape[1:]), np.float16)
        self._held = 0
        self._written = 0
        self.record: VideoRecord | None = None
        """The record that was passed to `finish`; None before."""

    def append(self, features: np.ndarray) -> None:
        """Append the feature maps of the next clips.

        Args:
            features: float32 (clip, channel, 7, 7); finite, with absolute values up to FLOAT16_MAX.

        Raises:
            StoreError: the shape is wrong, or a value is not finite or does not fit float16.
        """
        if features.shape[1:] != self._maps.shape[1:]:
            raise StoreError(
                f"maps are {features.shape[1:]}, the store takes {self._maps.shape[1:]}; check the weights"
            )
        if not np.isfinite(features).all() or np.abs(features).max(initial=0) > FLOAT16_MAX:
            raise StoreError("features hold NaN or values beyond float16; check the weights")
        for clip in features:
            self._shard[self._held] = clip
            self._held += 1
            if self._held == len(self._shard):
                self._write()

    def finish(self, record: VideoRecord, *, clip_frames: np.ndarray, frame_times: np.ndarray) -> None:
        """Write the remaining clips and the frame times after all frames have been decoded.

        Args:
            record: record of the video.
            clip_frames: int32 (clip, 2), half-open frame range of each clip, see `VideoFeatures`.
            frame_times: float64 (frame + 1,), seconds, see `VideoFeatures`.

        Raises:
            StoreError: the number of appended clips differs from the number of ranges.
        """
        if self._held:
            self._write()
        if self._written != len(clip_frames):
            raise StoreError(
                f"{record.key}: {self._written} clips came for {len(clip_frames)} ranges; extract it again"
            )
        for name, values, dimensions in (
            ("clip_frames", clip_frames.astype(np.int32), ("clip", "range")),
            ("frame_times", frame_times.astype(np.float64), ("edge",)),
        ):
            self._content.write(name, values, dimensions)
        self.record = record

    def _write(self) -> None:
        end = self._written + self._held
        self._maps.resize((end, *self._maps.shape[1:]))
        self._maps[self._written : end] = self._shard[: self._held]
        self._content.digests["i3d"].update(self._shard[: self._held])
        self._held, self._written = 0, end


def _record(slot: Slot) -> VideoRecord:
    return from_fields(VideoRecord, slot.attributes)


def _read(slot: Slot, groups_of: Callable[[np.ndarray], np.ndarray]) -> tuple[VideoFeatures, bool]:
    """Return the features of a video, and whether shards of them are missing."""
    record, maps = _record(slot), slot.array("i3d")
    clip_frames, frame_times = slot.rows("clip_frames"), slot.rows("frame_times")
    if len(maps.shape) != 4 or len(clip_frames) != maps.shape[0] or len(frame_times) != record.frame_count + 1:
        raise ValueError("its arrays are not as long as each other")
    i3d = pool_clips(maps, groups_of(clip_frames), piece=CLIPS_PER_SHARD)
    found = VideoFeatures(record=record, i3d=i3d, clip_frames=clip_frames, frame_times=frame_times)
    return found, is_missing_pieces(maps)


def _maps(slot: Slot) -> zarr.Array[Any]:
    maps = slot.array("i3d")
    if is_missing_pieces(maps):
        raise ValueError(GONE)
    return maps


def _queries(slot: Slot) -> dict[str, EncodedQuery]:
    words = [str(word) for word in slot.rows("words")]
    table = slot.rows("vectors")
    unknown = set(slot.attributes["unknown"])
    queries: dict[str, EncodedQuery] = {}
    for query, ids in zip(slot.rows("queries"), slot.rows("word_ids"), strict=True):
        entries = ids[ids >= 0]
        found = tuple(words[entry] for entry in entries)
        queries[str(query)] = EncodedQuery(
            words=found,
            vectors=table[entries],
            unknown=tuple(word for word in found if word in unknown),
            dropped=0,
        )
    return queries


def _zarr_place(address: str) -> str | Path:
    """Convert an address for zarr: a string with "://" is a URL, any other a local path.

    fsspec would also parse a local path such as "a::b" as a URL; a Path avoids this.
    """
    return address if "://" in address else Path(address)


def _copy(address: str) -> tuple[StorePath, dict[str, Any]] | None:
    """Return the path of the group `videos` and its copy of the root's attributes; None without a valid copy."""
    try:
        videos = zarr.open_group(
            _zarr_place(address), path="videos", mode="r", zarr_format=3, use_consolidated=False
        ).store_path
        attributes = group_attributes(videos) or {}
        check_attributes(attributes, _COPY, known=(), required=True)
    except Exception:  # noqa: BLE001 - the caller reports the damage of the root, not of the copy
        return None
    return videos, attributes


def _root_remedy(address: str) -> str:
    """Return advice about a damaged root. Only its copy can restore it, which stores of schema version 3 lack."""
    if _copy(address) is not None:
        return f"see gkcmn-pipe verify {shown(address)} --repair, or name another place"
    return "extract the features again into a new store, or name another place"


def _is_empty(place: str) -> bool:
    """Return whether a path or URL does not exist or is an empty folder. Raises StoreError if it is unreachable."""
    if "://" in place:
        try:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(place)
            return not filesystem.exists(path) or not filesystem.ls(path)
        except Exception as error:  # each fsspec file system has its own exceptions
            raise _unreachable(shown(place), error) from error
    folder = Path(place)
    try:
        # Ignore temporary files: a writer may have been killed while it wrote the first file.
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        return not folder.exists() or (folder.is_dir() and all(name.endswith(".partial") for name in names))
    except OSError as error:
        raise _unreachable(place, error) from error


def _unreachable(place: str, error: Exception) -> StoreError:
    return StoreError(f"{place}: cannot be reached ({first_line(error)}); check the place, or name another --store")
