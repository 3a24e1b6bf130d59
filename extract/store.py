"""The feature store: one Zarr v3 hierarchy that holds what extraction made.

    /                      attributes: schema_version, settings (what every video was extracted with)
    /videos/<key>/         attributes: VideoRecord's fields, and the generation that holds its arrays
        <generation>/i3d          float16 (clip, channel, y, x)
        <generation>/clip_frames  int32   (clip, range)
        <generation>/frame_times  float64 (edge,): seconds
    /failures/<key>/       attributes: Failure's fields; gone once the video succeeds
    /text/<encoding>/      attributes: unknown words, and the generation
        <generation>/queries      str     (query,)
        <generation>/word_ids     int32   (query, word): rows of `words`, -1 after the last word
        <generation>/words        str     (entry,)
        <generation>/vectors      float32 (entry, dim)

A key or an encoding's name is percent-encoded into one level. A new generation is written beside the old
one and named when it is whole: whatever kills a writer, a reader never takes a part for the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import BaseZarrError, ContainsGroupError

from extract.clips import each_clip, pool_clips
from extract.errors import StoreError, StoreMismatchError
from extract.files import shown
from extract.records import EncodedQuery, Failure, VideoFeatures, VideoRecord
from extract.zarr_groups import (
    array,
    child,
    content,
    drop,
    generation,
    is_whole,
    level,
    names,
    reading,
    refilling,
    remains,
    required,
    rows,
    write_strings,
    writing,
)

SCHEMA_VERSION = 3
GONE = "pieces of its features are gone"
CLIPS_PER_CHUNK = 16
CLIPS_PER_SHARD = 64
"""A shard is written whole, by one writer, from a buffer of this many clips: few files, and little memory."""
COMPRESSORS = (ZstdCodec(level=1), Crc32cCodec())
"""Of numbers: measured in docs/decisions.md. What passes for whole without the checksum may have a flipped bit."""
FLOAT16_MAX = 65504.0


class FeatureStore:
    """Features of videos and queries at one place: a folder or any fsspec URL."""

    def __init__(self, place: str, root: zarr.Group) -> None:
        """Take an open root group.

        Args:
            place: as it is shown in messages.
            root: of the store.
        """
        self.place = place
        self._root = root

    @classmethod
    def open(cls, place: str | Path, *, writable: bool = False) -> Self:
        """Open a store that is there. Raises StoreError if there is none, or one of another version."""
        address, place = str(place), shown(str(place))
        try:
            root = zarr.open_group(address, mode="r+" if writable else "r", zarr_format=3)
            version = root.attrs.get("schema_version")
        except (FileNotFoundError, BaseZarrError) as error:
            raise StoreError(
                f"{place}: no feature store; make one with: gkcmn-pipe features VIDEOS --store {place}"
            ) from error
        except (ValueError, KeyError, TypeError, OSError, ImportError) as error:
            raise StoreError(f"{place}: not a readable feature store ({error}); name another place") from error
        except Exception as error:
            if "://" not in address:
                raise
            raise _unreachable(place, error) from error
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{place}: its schema version is {version}, this program reads {SCHEMA_VERSION}; "
                "extract the features again into a new store"
            )
        return cls(place, root)

    @staticmethod
    def exists(place: str | Path) -> bool:
        """Whether anything lies at that place; `open` says whether it is a store. Raises StoreError."""
        return not _is_empty(str(place))

    @classmethod
    def open_if_any(cls, place: str | Path) -> Self | None:
        """The store at a place that nobody named; None where none can be opened: it is in nobody's way."""
        try:
            return cls.open(place) if cls.exists(place) else None
        except StoreError:
            return None

    @classmethod
    def open_for(cls, place: str | Path, settings: Mapping[str, Any], *, create: bool = True) -> Self:
        """Open a store for writing with `settings`, making it where there is none, unless `create` is false.

        Raises:
            StoreMismatchError: it was made with other settings.
            StoreError: something else lies there, or it cannot be written.
        """
        address = str(place)
        place = shown(address)
        if create and _is_empty(address):
            # Another command may make it at the same moment.
            with writing(place, "the store"), suppress(ContainsGroupError):
                root = zarr.create_group(
                    address,
                    zarr_format=3,
                    attributes={"schema_version": SCHEMA_VERSION, "settings": dict(settings)},
                )
                # Made here and not by the first who needs them: workers would do it at the same moment.
                required(root, "videos")
                required(root, "failures")
        store = cls.open(address, writable=True)
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

    @property
    def settings(self) -> Mapping[str, Any]:
        """What every video here was extracted with. Raises StoreError."""
        with reading(self.place, "its settings", "extract the features again into a new store"):
            return dict(self._root.attrs["settings"])  # type: ignore[arg-type]

    # Videos

    @property
    def channels(self) -> int:
        """Channels of the feature maps. Raises StoreError while the store holds no video."""
        for key in self.keys():
            slot = self._video(key)
            assert slot is not None
            with self._reading(key):
                return int(array(_content(slot), "i3d").shape[1])
        raise StoreError(
            f"{self.place}: holds no video yet; extract some with: gkcmn-pipe features VIDEOS --store {self.place}"
        )

    def keys(self) -> Iterator[str]:
        """Keys of all complete videos, in no order. Raises StoreError at one that is damaged."""
        for name in self._names():
            with self._reading(unquote(name)):
                slot = child(child(self._root, "videos"), name)
                key = _key(name, slot) if slot is not None and is_whole(slot) else None
            if key is not None:
                yield key

    def record(self, key: str) -> VideoRecord | None:
        """What is known of a complete video; None if there is no such video. Raises StoreError."""
        slot = self._video(key)
        if slot is None:
            return None
        with self._reading(key):
            return _record(slot)

    def read(self, key: str, groups_of: Callable[[np.ndarray], np.ndarray] = each_clip) -> VideoFeatures:
        """Read a video's features, or means of them, of which no more is held than the result takes.

        Args:
            key: of the video.
            groups_of: makes of `clip_frames` the groups of clips that `pool_clips` takes the means of.

        Raises:
            StoreError: they are not there, or damaged.
        """
        while (slot := self._video(key)) is not None:
            with self._reading(key):
                try:
                    group = _content(slot)
                    clip_frames = rows(group, "clip_frames")
                    found = VideoFeatures(
                        record=_record(slot),
                        i3d=pool_clips(array(group, "i3d"), groups_of(clip_frames), piece=CLIPS_PER_SHARD),
                        clip_frames=clip_frames,
                        frame_times=rows(group, "frame_times"),
                    )
                    missing = _is_missing_pieces(group)
                except Exception:
                    if self._is_replaced(key, slot):
                        continue
                    raise
                # What is replaced while it is read would be read as zeros, and so would pieces that are gone.
                if self._is_replaced(key, slot):
                    continue
                if missing:
                    raise KeyError(GONE)
                return found
        raise self._no_video(key)

    def _is_replaced(self, key: str, slot: zarr.Group) -> bool:
        now = self._video(key)
        return now is not None and generation(now) != generation(slot)

    def lazy(self, key: str) -> zarr.Array[Any]:
        """A video's features, read as they are sliced: float16 (clip, channel, y, x). Raises StoreError."""
        slot = self._present(key)
        with self._reading(key):
            group = _content(slot)
            if _is_missing_pieces(group):
                raise KeyError(GONE)
            return array(group, "i3d")

    def pieces(self, key: str) -> Iterator[np.ndarray]:
        """A video's features some clips at a time, however long it is: float16 (clip, channel, 7, 7) each.

        Raises StoreError.
        """
        maps = self.lazy(key)
        for start in range(0, maps.shape[0], CLIPS_PER_SHARD):
            with self._reading(key):
                piece = np.asarray(maps[start : start + CLIPS_PER_SHARD])
            yield piece

    def times(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """A video's `clip_frames` and `frame_times`, as `VideoFeatures` has them. Raises StoreError."""
        slot = self._present(key)
        with self._reading(key):
            group = _content(slot)
            return rows(group, "clip_frames"), rows(group, "frame_times")

    @contextmanager
    def write(self, key: str, *, channels: int) -> Iterator[VideoWriter]:
        """Replace a video's features; they take the old ones' place when this ends without an error.

        Append all clips to the writer, then end it with `VideoWriter.finish`.

        Args:
            key: of the video.
            channels: of its feature maps.

        Raises:
            StoreError: the store cannot be written, or the writer was not finished.
        """
        attributes: dict[str, Any] = {}
        with (
            writing(self.place, repr(key)),
            refilling(required(self._root, "videos"), level(key), attributes) as group,
        ):
            maps = group.create_array(
                "i3d",
                shape=(0, channels, 7, 7),  # what a file announces may be wrong by any factor
                dtype="float16",
                chunks=(CLIPS_PER_CHUNK, channels, 7, 7),
                shards=(CLIPS_PER_SHARD, channels, 7, 7),
                compressors=COMPRESSORS,
                dimension_names=("clip", "channel", "y", "x"),
            )
            writer = VideoWriter(group, maps)
            yield writer
            if writer.record is None:
                raise StoreError(f"{key}: its writing was not finished; extract it again")
            attributes |= asdict(writer.record)
        self.forget_failure(key)

    def _no_video(self, key: str) -> StoreError:
        return StoreError(
            f"{self.place}: holds no video {key!r}; extract it with: gkcmn-pipe features VIDEO --store {self.place}"
        )

    def _video(self, key: str) -> zarr.Group | None:
        with self._reading(key):
            slot = child(child(self._root, "videos"), level(key))
            return slot if slot is not None and is_whole(slot) else None

    def _present(self, key: str) -> zarr.Group:
        if (slot := self._video(key)) is None:
            raise self._no_video(key)
        return slot

    def _reading(self, key: str) -> AbstractContextManager[None]:
        return reading(self.place, f"{key!r}", "it is damaged: extract it again with --redo")

    # Failures

    def failures(self) -> list[Failure]:
        """What could not be extracted, by key. Raises StoreError."""
        with self._reading_failures():
            noted = child(self._root, "failures")
            groups = sorted(noted.groups()) if noted is not None else []
            # One without attributes is being removed at this moment.
            return [Failure(**group.attrs) for _, group in groups if group.attrs]  # type: ignore[arg-type]

    def note_failure(self, failure: Failure) -> None:
        """Keep a failure until its video succeeds. Raises StoreError."""
        with writing(self.place, "a failure"):
            if (noted := self._noted()) is None:
                noted = required(self._root, "failures")
            noted.create_group(level(failure.key), attributes=asdict(failure), overwrite=True)

    def forget_failure(self, key: str) -> None:
        """Drop what is noted of a video that is whole now. Raises StoreError."""
        with writing(self.place, "a failure"):
            if (noted := self._noted()) is not None and level(key) in names(noted):
                drop(noted, level(key))

    def _noted(self) -> zarr.Group | None:
        with self._reading_failures():
            return child(self._root, "failures")

    def _reading_failures(self) -> AbstractContextManager[None]:
        return reading(self.place, "the list of failures", f"remove the folder failures in {self.place}")

    # Soundness

    def all_keys(self) -> Iterator[str]:
        """Keys of all videos that were ever begun, be they whole, damaged or neither. Raises StoreError."""
        for name in self._names():
            try:
                with self._reading(name):
                    slot = child(child(self._root, "videos"), name)
                    key = unquote(name) if slot is None else _key(name, slot)
            except StoreError:
                key = unquote(name)
            yield key

    def _names(self) -> list[str]:
        with reading(self.place, "the list of its videos", "extract the features again into a new store"):
            return names(child(self._root, "videos"))

    def is_missing_pieces(self, key: str) -> bool:
        """Whether pieces of a whole video's features are gone, which would read as zeros. Raises StoreError."""
        slot = self._video(key)
        assert slot is not None
        with self._reading(key):
            return _is_missing_pieces(_content(slot))

    def leftovers(self, key: str) -> list[str]:
        """Parts that killed writers left of a video, beside what is whole. Raises StoreError."""
        with self._reading(key):
            slot = child(child(self._root, "videos"), level(key))
            return [] if slot is None else remains(slot)

    def remove(self, key: str, *, leftovers_only: bool = False) -> None:
        """Remove a video, or only what killed writers left of it. Raises StoreError."""
        with writing(self.place, repr(key)):
            videos = child(self._root, "videos")
            if leftovers_only and (slot := child(videos, level(key))) is not None:
                for name in remains(slot):
                    drop(slot, name)
            elif videos is not None:
                for name in names(videos):
                    # The name of a damaged slot is all that is left of a key, and a long one is cut.
                    if level(key) == name or unquote(name) == key:
                        drop(videos, name)

    # Queries

    def queries(self, encoding: str) -> dict[str, EncodedQuery]:
        """All queries that were encoded in that way; may be empty. Raises StoreError."""
        with reading(self.place, f"its queries ({encoding})", f"remove the folder text in {self.place}"):
            slot = child(child(self._root, "text"), level(encoding))
            group = content(slot)
            if slot is None or group is None:
                return {}
            words = [str(word) for word in rows(group, "words")]
            table = rows(group, "vectors")
            unknown = set(slot.attrs["unknown"])  # type: ignore[arg-type]
            queries: dict[str, EncodedQuery] = {}
            for query, ids in zip(rows(group, "queries"), rows(group, "word_ids"), strict=True):
                entries = ids[ids >= 0]
                found = tuple(words[entry] for entry in entries)
                queries[str(query)] = EncodedQuery(
                    words=found,
                    vectors=table[entries],
                    unknown=tuple(word for word in found if word in unknown),
                    dropped=0,
                )
            return queries

    def add_queries(self, encoding: str, encoded: Mapping[str, EncodedQuery]) -> None:
        """Add queries to those that are there; a reader sees the old ones or all. Raises StoreError."""
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
        with (
            writing(self.place, "its queries"),
            refilling(self._root.require_group("text"), level(encoding), {"unknown": unknown}) as group,
        ):
            write_strings(group, "queries", merged, "query")
            write_strings(group, "words", row_of, "entry")
            group.create_array("word_ids", data=ids, dimension_names=("query", "word"))
            group.create_array("vectors", data=np.stack(list(entries.values())), dimension_names=("entry", "dim"))


class VideoWriter:
    """Takes a video's features in order, and writes them shard by shard."""

    def __init__(self, group: zarr.Group, maps: zarr.Array[Any]) -> None:
        self._group = group
        self._maps = maps
        # One for all shards: with new ones the process grew as the video went on.
        self._shard = np.empty((CLIPS_PER_SHARD, *maps.shape[1:]), np.float16)
        self._held = 0
        self._written = 0
        self.record: VideoRecord | None = None
        """What `finish` was given."""

    def append(self, features: np.ndarray) -> None:
        """Add float32 (clip, channel, 7, 7) maps.

        Raises:
            StoreError: they are of another shape, or a value is not finite or does not fit float16.
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
        """Write what is left, and what is known now that all frames were seen.

        Args:
            record: of the video.
            clip_frames: int32 (clip, 2), as `VideoFeatures` has them.
            frame_times: float64 (frame + 1,), likewise.

        Raises:
            StoreError: another number of clips came.
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
            self._group.create_array(name, data=values, compressors=COMPRESSORS, dimension_names=dimensions)
        self.record = record

    def _write(self) -> None:
        end = self._written + self._held
        self._maps.resize((end, *self._maps.shape[1:]))
        self._maps[self._written : end] = self._shard[: self._held]
        self._held, self._written = 0, end


def _record(slot: zarr.Group) -> VideoRecord:
    return VideoRecord(**{field.name: slot.attrs[field.name] for field in fields(VideoRecord)})  # type: ignore[arg-type]


def _key(name: str, slot: zarr.Group) -> str:
    """The key of a slot; of one that was never whole, what its name says."""
    return str(slot.attrs.get("key") or unquote(name))


def _is_missing_pieces(group: zarr.Group) -> bool:
    maps = array(group, "i3d")
    # The last shard may have fewer chunks than are counted for it, so more is no fault.
    return bool(maps.nchunks_initialized < maps.nchunks)


def _content(slot: zarr.Group) -> zarr.Group:
    group = content(slot)
    if group is None:
        raise KeyError("its arrays are gone")
    return group


def _is_empty(place: str) -> bool:
    """Whether nothing lies at that place yet. Raises StoreError if it cannot be reached."""
    if "://" in place:
        try:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(place)
            return not filesystem.exists(path) or not filesystem.ls(path)
        except Exception as error:  # each file system has errors of its own
            raise _unreachable(shown(place), error) from error
    folder = Path(place)
    try:
        # What a killed writer of the first file left is nothing yet.
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        return not folder.exists() or (folder.is_dir() and all(name.endswith(".partial") for name in names))
    except OSError as error:
        raise _unreachable(place, error) from error


def _unreachable(place: str, error: Exception) -> StoreError:
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreError(f"{place}: cannot be reached ({cause}); check the place, or name another --store")
