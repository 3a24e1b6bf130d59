"""What extraction makes, as typed records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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
    """`extract.video.source_digest` of that file."""
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
