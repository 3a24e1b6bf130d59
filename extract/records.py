"""Typed records of the results of extraction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import numpy as np

R = TypeVar("R", bound="VideoInfo | Failure")
Stage = Literal["decode", "backbone", "store", "worker"]
"""Stage of extraction at which a failure can occur."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties that a container declares for its video, after rotation is applied."""

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    fps: float
    """Average frame rate in frames per second. For a variable rate, `VideoFeatures.frame_times` has the time of each
    frame."""
    frame_count: int
    """Number of frames."""
    duration_s: float
    """Duration in seconds."""
    decoder: str
    """Name and version of the decoder, such as "decord2 3.4.0"."""


@dataclass(frozen=True, kw_only=True)
class VideoRecord(VideoInfo):
    """Record of one video in a store."""

    key: str
    """Name of the video in the store."""
    source: str
    """Absolute path of the file from which the video was extracted."""
    source_digest: str
    """Digest of that file, as returned by `extract.video.reader.source_digest`."""
    fault: str | None = None
    """Reason why the video has fewer frames than its container declares, or None."""


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """Features of one video, in memory."""

    record: VideoRecord
    i3d: np.ndarray
    """float16 (clip, channel, y, x); means over groups of clips if `FeatureStore.read` was called with `groups_of`."""
    clip_frames: np.ndarray
    """int32 (clip, 2): half-open ranges of source frames."""
    frame_times: np.ndarray
    """float64 (frame + 1,): start time of each frame, and end time of the last one, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Reason why a video could not be extracted."""

    key: str
    """Name of the video in the store."""
    source: str
    """Absolute path of the file."""
    stage: Stage
    """Stage at which the extraction failed."""
    cause: str
    """Cause of the failure, for the user."""
    remedy: str
    """Advice for the user."""

    @property
    def message(self) -> str:
        """The failure as one line for the user."""
        return f"{self.source}: {self.cause}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class EncodedQuery:
    """A query as word vectors, the input of the model."""

    words: tuple[str, ...]
    """Words of the query after normalization, up to the word limit."""
    vectors: np.ndarray
    """Word vectors: float32 (word, dim)."""
    unknown: tuple[str, ...]
    """Those of `words` that have no vector of their own."""
    dropped: int
    """Number of words that were dropped because of the word limit."""


def from_fields(kind: type[R], values: Mapping[str, Any]) -> R:
    """Create a record from values that were read as JSON. Values that are not fields of the record are ignored.

    Args:
        kind: `VideoRecord` or `Failure`.
        values: values by field name.

    Raises:
        ValueError: a field is missing or has a wrong type or value.
    """
    found = {}
    for name, allowed in _types(kind).items():  # type: ignore[arg-type] # a type is hashable
        if name not in values:
            raise ValueError(f"{name} is not there")
        value = found[name] = values[name]
        if not (value in allowed if isinstance(allowed, frozenset) else type(value) in allowed):
            raise ValueError(f"{name} is {value!r}")
    return kind(**found)


@cache
def _types(kind: type[VideoInfo | Failure]) -> dict[str, frozenset[str] | tuple[type, ...]]:
    """Return the accepted types of each field of a record, or its accepted values if the field is a `Stage`."""
    hints = get_type_hints(kind)
    allowed: dict[str, frozenset[str] | tuple[type, ...]] = {}
    for name in (field.name for field in fields(kind)):
        hint = hints[name]
        if hint == Stage:
            allowed[name] = frozenset(get_args(Stage))
        else:
            kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
            allowed[name] = (*kinds, int) if float in kinds else kinds
    return allowed
