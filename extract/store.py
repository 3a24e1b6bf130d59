"""The feature store: one Zarr v3 hierarchy that holds what extraction made. The one place that knows zarr.

    /                      attributes: schema_version, settings (what every video was extracted with)
    /videos/<key>/         attributes: VideoRecord's fields and `complete`, written last
        i3d                float16 (clip, channel, y, x)
        clip_frames        int32   (clip, range)
    /text/<vectors>/       attributes: dim and `complete`
        queries            str     (query,)
        word_ids           int32   (query, word): rows of `words`, -1 after the last word
        words              str     (entry,)
        vectors            float32 (entry, dim)

A key or a vectors' name is percent-encoded into one level. A group without `complete` is as if it were not
there: whatever kills a writer, a reader never takes a part for the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import BaseZarrError

from extract.errors import GkcmnError, StoreError, StoreMismatchError
from extract.records import EncodedQuery, VideoFeatures, VideoRecord

SCHEMA_VERSION = 1
CLIPS_PER_CHUNK = 16
CLIPS_PER_SHARD = 128
"""A shard is written whole, by one writer, from a buffer of this many clips."""
FLOAT16_MAX = 65504.0


class FeatureStore:
    """Features of videos and queries at one place: a folder or any fsspec URL."""

    def __init__(self, place: str, root: zarr.Group) -> None:
        self.place = place
        self._root = root

    @classmethod
    def open(cls, place: str | Path, *, writable: bool = False) -> Self:
        """Open a store that is there. Raises StoreError if there is none, or one of another version."""
        place = str(place)
        try:
            root = zarr.open_group(place, mode="r+" if writable else "r", zarr_format=3)
        except (FileNotFoundError, BaseZarrError) as error:
            raise StoreError(
                f"{place}: no feature store; make one with: gkcmn-pipe features VIDEOS --store {place}"
            ) from error
        except (ValueError, KeyError, OSError) as error:
            raise StoreError(f"{place}: not a readable feature store ({error}); name another place") from error
        version = root.attrs.get("schema_version")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{place}: its schema version is {version}, this program reads {SCHEMA_VERSION}; "
                "extract the features again into a new store"
            )
        return cls(place, root)

    @staticmethod
    def exists(place: str | Path) -> bool:
        """Whether anything lies at that place; `open` says whether it is a store."""
        return not _is_empty(str(place))

    @classmethod
    def open_for(cls, place: str | Path, settings: Mapping[str, Any]) -> Self:
        """Open a store for writing with `settings`, making it where there is none.

        Raises:
            StoreMismatchError: it was made with other settings.
            StoreError: something else lies there, or it cannot be written.
        """
        place = str(place)
        if _is_empty(place):
            try:
                zarr.create_group(
                    place,
                    zarr_format=3,
                    attributes={"schema_version": SCHEMA_VERSION, "settings": dict(settings)},
                )
            except OSError as error:
                raise StoreError(f"{place}: cannot be written ({error.strerror}); name another --store") from error
        store = cls.open(place, writable=True)
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
        """What every video here was extracted with."""
        settings: Mapping[str, Any] = self._root.attrs["settings"]  # type: ignore[assignment]
        return settings

    # Videos

    @property
    def channels(self) -> int:
        """Channels of the feature maps. Raises StoreError while the store holds no video."""
        for key in self.keys():
            group = self._video_group(key)
            assert group is not None
            return int(_array(group, "i3d").shape[1])
        raise StoreError(
            f"{self.place}: holds no video yet; extract some with: gkcmn-pipe features VIDEOS --store {self.place}"
        )

    def keys(self) -> Iterator[str]:
        """Keys of all complete videos, in no order."""
        videos = self._child(self._root, "videos")
        for name, group in videos.groups() if videos is not None else ():
            if group.attrs.get("complete"):
                yield unquote(name)

    def record(self, key: str) -> VideoRecord | None:
        """What is known of a complete video; None if there is no such video."""
        group = self._video_group(key)
        return None if group is None else _record(group)

    def read(self, key: str) -> VideoFeatures:
        """Read a video's features whole. Raises StoreError if they are not there or damaged."""
        group = self._video_group(key)
        if group is None:
            raise StoreError(
                f"{self.place}: holds no video {key!r}; extract it with: gkcmn-pipe features VIDEO --store {self.place}"
            )
        try:
            return VideoFeatures(
                record=_record(group),
                i3d=_rows(group, "i3d"),
                clip_frames=_rows(group, "clip_frames"),
            )
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise StoreError(
                f"{self.place}: the features of {key!r} are damaged ({error}); extract them again with --redo"
            ) from error

    @contextmanager
    def write(self, record: VideoRecord, *, channels: int, clip_frames: np.ndarray) -> Iterator[VideoWriter]:
        """Replace a video's features; they count from the moment this ends without an error."""
        try:
            yield from self._write(record, channels, clip_frames)
        except OSError as error:
            if isinstance(error, GkcmnError):
                raise  # the reader's own, on its way through
            raise StoreError(
                f"{self.place}: {record.key!r} cannot be written ({error.strerror or error}); "
                "free the disk or allow writing, and run the same command again"
            ) from error

    def _write(self, record: VideoRecord, channels: int, clip_frames: np.ndarray) -> Iterator[VideoWriter]:
        group = self._root.require_group("videos").create_group(_name(record.key), overwrite=True)
        ranges = group.create_array("clip_frames", data=clip_frames.astype(np.int32), dimension_names=("clip", "range"))
        clips = ranges.shape[0]
        chunk = min(clips, CLIPS_PER_CHUNK)
        shard = min(-(-clips // chunk) * chunk, CLIPS_PER_SHARD)
        array = group.create_array(
            "i3d",
            shape=(clips, channels, 7, 7),
            dtype="float16",
            chunks=(chunk, channels, 7, 7),
            shards=(shard, channels, 7, 7),
            # A flipped bit inside a blosc frame goes unseen; the checksum sees it.
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
            dimension_names=("clip", "channel", "y", "x"),
        )
        writer = VideoWriter(array, shard)
        yield writer
        writer.flush()
        if writer.written != clips:
            raise StoreError(
                f"{record.key}: {writer.written} clips came where {clips} were announced; extract it again"
            )
        group.attrs.update({**asdict(record), "complete": True})

    def _video_group(self, key: str) -> zarr.Group | None:
        videos = self._child(self._root, "videos")
        group = self._child(videos, _name(key)) if videos is not None else None
        return group if group is not None and group.attrs.get("complete") else None

    # Queries

    def queries(self, vectors: str) -> dict[str, EncodedQuery]:
        """All queries that were encoded with the word vectors of that name; may be empty."""
        group = self._text_group(vectors)
        if group is None:
            return {}
        words = [str(word) for word in _rows(group, "words")]
        table = _rows(group, "vectors")
        unknown = set(group.attrs["unknown"])  # type: ignore[arg-type]
        queries: dict[str, EncodedQuery] = {}
        for query, ids in zip(_rows(group, "queries"), _rows(group, "word_ids"), strict=True):
            rows = ids[ids >= 0]
            found = tuple(words[row] for row in rows)
            queries[str(query)] = EncodedQuery(
                words=found,
                vectors=table[rows],
                unknown=tuple(word for word in found if word in unknown),
                dropped=0,
            )
        return queries

    def add_queries(self, vectors: str, encoded: Mapping[str, EncodedQuery]) -> None:
        """Add queries to those that are there; a reader sees the old ones or all."""
        merged = {**self.queries(vectors), **encoded}
        entries: dict[str, np.ndarray] = {}
        for query in merged.values():
            entries.update(zip(query.words, query.vectors, strict=True))
        rows = {word: row for row, word in enumerate(entries)}
        longest = max(len(query.words) for query in merged.values())
        ids = np.full((len(merged), longest), -1, np.int32)
        for line, query in zip(ids, merged.values(), strict=True):
            line[: len(query.words)] = [rows[word] for word in query.words]
        text = self._root.require_group("text").require_group(_name(vectors))
        # A new generation is written beside the old one; the attribute that names it switches in one step.
        old = text.attrs.get("generation", 0)
        assert isinstance(old, int)
        group = text.create_group(str(old + 1), overwrite=True)
        _strings(group, "queries", merged, "query")
        _strings(group, "words", rows, "entry")
        group.create_array("word_ids", data=ids, dimension_names=("query", "word"))
        group.create_array("vectors", data=np.stack(list(entries.values())), dimension_names=("entry", "dim"))
        group.attrs["unknown"] = sorted({word for query in merged.values() for word in query.unknown})
        text.attrs["generation"] = old + 1
        if str(old) in text:
            del text[str(old)]

    def _text_group(self, vectors: str) -> zarr.Group | None:
        text = self._child(self._root, "text")
        named = self._child(text, _name(vectors)) if text is not None else None
        if named is None or "generation" not in named.attrs:
            return None
        return self._child(named, str(named.attrs["generation"]))

    @staticmethod
    def _child(group: zarr.Group, name: str) -> zarr.Group | None:
        child = group.get(name)
        return child if isinstance(child, zarr.Group) else None


class VideoWriter:
    """Takes a video's features in order, and writes them shard by shard."""

    def __init__(self, array: zarr.Array[Any], shard_clips: int) -> None:
        self._array = array
        self._shard_clips = shard_clips
        self._buffer: list[np.ndarray] = []
        self.written = 0

    def append(self, features: np.ndarray) -> None:
        """Add float32 (clip, channel, 7, 7) maps.

        Raises:
            StoreError: a value is not finite or does not fit float16, or there are too many clips.
        """
        if not np.isfinite(features).all() or np.abs(features).max(initial=0) > FLOAT16_MAX:
            raise StoreError("features hold NaN or values beyond float16; check the weights")
        self._buffer.extend(features.astype(np.float16))
        while len(self._buffer) >= self._shard_clips:
            self._write(self._shard_clips)

    def flush(self) -> None:
        """Write what is left in the buffer."""
        if self._buffer:
            self._write(len(self._buffer))

    def _write(self, clips: int) -> None:
        end = self.written + clips
        if end > self._array.shape[0]:
            raise StoreError(f"more than the announced {self._array.shape[0]} clips came; extract the video again")
        self._array[self.written : end] = np.stack(self._buffer[:clips])
        del self._buffer[:clips]
        self.written = end


def _name(key: str) -> str:
    """A key as the name of one group: readable, and the same on every file system."""
    name = quote(key, safe=" ()+,=@")
    # Neither a hidden or parent folder, nor the file in which zarr keeps a group's own metadata.
    return name.replace(".", "%2E", 1) if name.startswith(".") or name == "zarr.json" else name


def _record(group: zarr.Group) -> VideoRecord:
    return VideoRecord(**{field.name: group.attrs[field.name] for field in fields(VideoRecord)})  # type: ignore[arg-type]


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _rows(group: zarr.Group, name: str) -> np.ndarray:
    """A whole array, read into memory."""
    return np.asarray(_array(group, name)[:])


def _strings(group: zarr.Group, name: str, values: Iterable[str], dimension: str) -> None:
    values = np.array(list(values), dtype=object)
    array = group.create_array(name, shape=values.shape, dtype="str", dimension_names=(dimension,))
    array[:] = values


def _is_empty(place: str) -> bool:
    """Whether nothing lies at that place yet."""
    if "://" in place:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(place)
        return not filesystem.exists(path) or not filesystem.ls(path)
    path = Path(place)
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))
