"""The numbers of GKCMN, the paper's as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

WIDTH_PRESETS: dict[str, tuple[int, ...]] = {
    "fine": (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 200),
    "coarse": (16, 32, 64, 96, 128, 160, 192),
}
"""Widths of the temporal candidates in steps."""

Ablation = Literal["none", "no_serial", "no_parallel", "no_mixed", "no_temporal_attention", "single_point"]

Architecture = Literal["gkcmn", "baseline"]


MAX_WIDTH = 65_536
RANGES: dict[str, tuple[int, int]] = {
    "feature_channels": (1, MAX_WIDTH),
    "word_dim": (1, MAX_WIDTH),
    "max_steps": (1, MAX_WIDTH),
    "visual_width": (1, MAX_WIDTH),
    "sentence_width": (4, MAX_WIDTH),
    "fused_width": (4, MAX_WIDTH),
    "span_kernel": (1, MAX_WIDTH),
    "heatmap_size": (7, 256),
    "attention_layers": (1, 100),
    "attention_heads": (1, MAX_WIDTH),
}
"""Least and largest values. The largest are far beyond any use: within them a model can be counted without memory."""

MIN_SIGMA, MAX_SIGMA = 1e-6, 1e6
"""In cells: beyond them its square, or a division by it, leaves the range of float32."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture, its losses and what the paper leaves open.

    Raises:
        ValueError: a number is out of its range.
    """

    architecture: Architecture = "gkcmn"
    """The paper's model, or BM, its anchor-free baseline."""
    feature_channels: int = 1024
    """I3D channels C."""
    word_dim: int = 50
    """Numbers in a word vector."""
    max_steps: int = 200
    """Longest time axis T (paper: 200)."""
    visual_width: int = 32
    """d (paper: 32)."""
    sentence_width: int = 128
    """D of a word's state."""
    fused_width: int = 64
    """D' after the cross-modal interaction."""
    attention_layers: int = 2
    """Paper: 2."""
    attention_heads: int = 4
    dropout: float = 0.1
    heatmap_size: int = 16
    """L (paper: 16)."""
    sentence_pooling: Literal["mean", "last"] = "mean"
    """What of the BiGRU is tiled over the video: the mean of its states or its last states."""
    interaction: Literal["sentence", "words"] = "sentence"
    """What meets each cell (Eq. 1): the tiled sentence, or beyond the paper the words that the cell attends to."""
    temporal_pooling: Literal["mean", "attention"] = "mean"
    """How the temporal head pools a picture: its mean, or beyond the paper weights that it learns, which the location
    loss then draws to the true box."""
    span_kernel: int = 33
    """Steps that the last convolution of the temporal heads sees, odd: a candidate's score is read over its window."""
    span_choice: Literal["candidates", "steps"] = "candidates"
    """How the span is found: the best candidate, or beyond the paper from what is said of each step: that it
    lies inside, is the first, is the last."""
    upsampling: Literal["bilinear", "transposed"] = "bilinear"
    box_choice: Literal["peak", "path"] = "peak"
    """Where a step's box is read: at its heatmap's peak, or beyond the paper on the best path through the span."""
    sigma: float = 0.9
    """Of Eq. 5, in cells of the L x L map; the paper gives delta = 0.9 and no sigma."""
    focal_alpha: float = 2.0
    focal_beta: float = 4.0
    focal_gamma: float = 0.8
    """A cell whose target exceeds it is positive (paper: 0.8)."""
    widths: Literal["fine", "coarse"] = "fine"
    confidence_threshold: float = 0.3
    """c (paper: 0.3)."""
    offset_gate: Literal["threshold", "near_best"] = "threshold"
    """Candidates whose offsets are taught (Eq. 9): of an IoU of at least c, or of 0.9 of the best one's too."""
    loss_weights: tuple[float, float, float, float] = (1.0, 2.0, 0.2, 0.1)
    """alpha_1 to alpha_4 of Eq. 10 (paper)."""
    ablation: Ablation = "none"
    """Table 3: w/o SC, PC, MN, TA and SK."""

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.span_kernel % 2 == 0:
            raise ValueError(f"span_kernel must be odd, got {self.span_kernel}")
        if self.fused_width % 2 or self.sentence_width % 2:
            raise ValueError("fused_width and sentence_width must be even: each is two halves side by side")
        for name in ("fused_width", "sentence_width"):
            if getattr(self, name) % self.attention_heads:
                raise ValueError(f"{name} must be a multiple of attention_heads {self.attention_heads}")

    def _check_ranges(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be at least {least} and at most {most}, got {getattr(self, name)}")
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma must be positive, got {self.sigma}")
        if not MIN_SIGMA <= self.sigma <= MAX_SIGMA:
            raise ValueError(f"sigma must be at least {MIN_SIGMA} and at most {MAX_SIGMA}, got {self.sigma}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        numbers = (self.focal_alpha, self.focal_beta, self.focal_gamma, self.confidence_threshold, *self.loss_weights)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(
                "focal_alpha, focal_beta, focal_gamma, confidence_threshold and loss_weights must be finite"
            )

    @property
    def candidate_widths(self) -> tuple[int, ...]:
        """Widths of the temporal candidates in steps, ascending."""
        return WIDTH_PRESETS[self.widths]
