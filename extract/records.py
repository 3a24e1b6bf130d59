"""What extraction makes, as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import numpy as np

R = TypeVar("R", bound="VideoInfo | Failure")
Stage = Literal["decode", "backbone", "store", "worker"]
"""Of extraction, where something may fail."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a container says of its video, after rotation is applied."""

    width: int
    height: int
    fps: float
    """Average rate in frames a second; where the rate varies, `VideoFeatures.frame_times` has each frame's time."""
    frame_count: int
    duration_s: float
    decoder: str
    """Name and version, as "decord2 3.4.0"."""


@dataclass(frozen=True, kw_only=True)
class VideoRecord(VideoInfo):
    """What a store says of one video."""

    key: str
    source: str
    """Absolute path from which it was extracted."""
    source_digest: str
    """`extract.video.reader.source_digest` of that file."""
    fault: str | None = None
    """Why it has fewer frames than its file announces, if it has."""


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """One video's features, read into memory."""

    record: VideoRecord
    i3d: np.ndarray
    """float16 (clip, channel, y, x), or means over groups of clips, as `FeatureStore.read` was told."""
    clip_frames: np.ndarray
    """int32 (clip, 2), half-open ranges of source frames."""
    frame_times: np.ndarray
    """float64 (frame + 1,): seconds at which each frame begins, and at which the last one ends."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a video could not be extracted."""

    key: str
    source: str
    """Absolute path of the file."""
    stage: Stage
    cause: str
    remedy: str

    @property
    def message(self) -> str:
        """One line for a person."""
        return f"{self.source}: {self.cause}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class EncodedQuery:
    """A query as the model takes it."""

    words: tuple[str, ...]
    vectors: np.ndarray
    """float32 (word, dim)."""
    unknown: tuple[str, ...]
    """Those of `words` that have no vector of their own."""
    dropped: int
    """Words beyond the limit, left out."""


def from_fields(kind: type[R], values: Mapping[str, Any]) -> R:
    """Make a record of values that were read as JSON; other values than the record's fields are left out.

    Args:
        kind: `VideoRecord` or `Failure`.
        values: by the name of the field.

    Raises:
        ValueError: a field is absent or of another type.
    """
    found = {}
    for name, allowed in _types(kind).items():  # type: ignore[arg-type] # a type can be hashed
        if name not in values:
            raise ValueError(f"{name} is not there")
        value = found[name] = values[name]
        if not (value in allowed if isinstance(allowed, frozenset) else type(value) in allowed):
            raise ValueError(f"{name} is {value!r}")
    return kind(**found)


@cache
def _types(kind: type[VideoInfo | Failure]) -> dict[str, frozenset[str] | tuple[type, ...]]:
    """For each field of a record its types, or its values if they are few."""
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
