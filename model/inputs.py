"""What goes into the model, what it is trained against, and what comes out.

Letters: V videos, B samples, T steps, N words, C I3D channels, W word width, L heatmap side, K candidate widths.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _Tensors:
    """Moves as one."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class ModelInput(_Tensors):
    """A padded batch; what lies beyond a sample's length does not change its result.

    Samples of one video share its features, so that what does not depend on the sentence is computed once.
    """

    features: Tensor
    """float16 or float32 (V, T, C, 7, 7)."""
    video: Tensor
    """int64 (B,): which of the videos each sample speaks of."""
    step_mask: Tensor
    """bool (B, T): true where a step is the sample's own."""
    words: Tensor
    """float32 (B, N, W)."""
    word_mask: Tensor
    """bool (B, N)."""


@dataclass(frozen=True, kw_only=True)
class ModelTarget(_Tensors):
    """The truth in steps and fractions of the picture."""

    boxes: Tensor
    """float32 (B, T, 4): xyxy in [0, 1]; any value where `box_mask` is false."""
    box_mask: Tensor
    """bool (B, T): steps inside the true span that have a box."""
    span: Tensor
    """float32 (B, 2): start and end on the step axis, on which step t covers [t, t + 1)."""


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """Raw predictions."""

    heatmap_logits: Tensor
    """float32 (B, T, L, L): before the sigmoid; rows are y."""
    distances: Tensor
    """float32 (B, T, 4, L, L): left, top, right, bottom from each cell's centre, in cells, not negative."""
    score_logits: Tensor
    """float32 (B, T, K): before the sigmoid that gives the predicted IoU of each candidate."""
    offsets: Tensor
    """float32 (B, T, K, 2): to be added to a candidate's start and end, in steps."""
    step_logits: Tensor
    """float32 (B, T, 3): of each step to lie in the span, to be its first and to be its last; 0 where the candidates
    choose alone."""
    gaze: Tensor
    """float32 (B, T, 49): log of each cell's weight in the temporal head's pooling."""
