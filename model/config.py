"""Configuration of the models. The defaults are the paper's values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

WIDTH_PRESETS: dict[str, tuple[int, ...]] = {
    "fine": (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 200),
    "coarse": (16, 32, 64, 96, 128, 160, 192),
}
"""Widths of the proposals, in time steps."""

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
"""Smallest and largest allowed values. Below the upper limits, a model's parameters can be counted without
allocating memory."""

MIN_SIGMA, MAX_SIGMA = 1e-6, 1e6
"""Limits of sigma in cells. Outside them sigma squared, or a division by it, leaves the range of float32."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture of a model, its losses, and the choices that the paper leaves open.

    Raises:
        ValueError: a value is outside its range.
    """

    architecture: Architecture = "gkcmn"
    """The paper's model, or its anchor-free baseline BM."""
    feature_channels: int = 1024
    """Number of I3D channels C."""
    word_dim: int = 50
    """Dimension of a word vector."""
    max_steps: int = 200
    """Maximum number of time steps T (paper: 200)."""
    visual_width: int = 32
    """d (paper: 32)."""
    sentence_width: int = 128
    """Width D of a word's state."""
    fused_width: int = 64
    """Width D' of F_f2, the output of the cross-modal interaction."""
    attention_layers: int = 2
    """Number of self-attention layers (paper: 2)."""
    attention_heads: int = 4
    dropout: float = 0.1
    heatmap_size: int = 16
    """Side L of the heatmaps in cells (paper: 16)."""
    sentence_pooling: Literal["mean", "last"] = "mean"
    """The sentence vector that is tiled over the video: the mean of the BiGRU's states or its last states."""
    interaction: Literal["sentence", "words"] = "sentence"
    """The text that is fused with each cell (Eq. 1): the tiled sentence, or an attention-weighted mean of the words
    (GKCMN+)."""
    temporal_pooling: Literal["mean", "attention"] = "mean"
    """Spatial pooling in the temporal head: the mean, or learned weights (GKCMN+). The location loss then trains the
    weights to concentrate inside the true box."""
    span_kernel: int = 33
    """Kernel size in time steps of the last convolution of the temporal heads, odd. A large kernel lets the score of a
    proposal depend on its whole window."""
    span_choice: Literal["candidates", "steps"] = "candidates"
    """How the span is decoded: the best proposal, or the inside, start and end probabilities of the time steps
    (GKCMN+)."""
    upsampling: Literal["bilinear", "transposed"] = "bilinear"
    box_choice: Literal["peak", "path"] = "peak"
    """How boxes are decoded: at the peak of each heatmap, or on the best path through the span (GKCMN+)."""
    sigma: float = 0.9
    """Standard deviation of the Gaussian (Eq. 5), in cells of the L x L map. The paper gives delta = 0.9 but no value
    for sigma."""
    focal_alpha: float = 2.0
    focal_beta: float = 4.0
    focal_gamma: float = 0.8
    """A cell is positive if its target exceeds this value (paper: 0.8)."""
    widths: Literal["fine", "coarse"] = "fine"
    confidence_threshold: float = 0.3
    """Confidence threshold c (paper: 0.3)."""
    offset_gate: Literal["threshold", "near_best"] = "threshold"
    """Proposals whose offsets are trained (Eq. 9): those with an IoU of at least c. "near_best" also requires at least
    0.9 times the IoU of the best proposal."""
    loss_weights: tuple[float, float, float, float] = (1.0, 2.0, 0.2, 0.1)
    """alpha_1 to alpha_4 of Eq. 10 (the paper's values)."""
    ablation: Ablation = "none"
    """The part that is removed (Table 3: w/o SC, PC, MN, TA and SK)."""

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
        """Widths of the proposals in time steps, ascending."""
        return WIDTH_PRESETS[self.widths]
