"""Inputs, targets and outputs of the models.

Letters: V videos, B samples, T time steps, N words, C I3D channels, W word vector dimension, L heatmap side, K proposal
widths.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _Tensors:
    """A dataclass of tensors that move to a device together."""

    def to(self, device: torch.device) -> Self:
        """Return a copy with all tensors on `device`."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class ModelInput(_Tensors):
    """A padded batch. The values at padded positions do not affect the result.

    Samples of the same video share its features, so the model encodes each video only once.
    """

    features: Tensor
    """float16 or float32 (V, T, C, 7, 7)."""
    video: Tensor
    """int64 (B,): the index into `features` of each sample's video."""
    step_mask: Tensor
    """bool (B, T): False at padded time steps."""
    words: Tensor
    """float32 (B, N, W): word vectors."""
    word_mask: Tensor
    """bool (B, N): False at padded words."""


@dataclass(frozen=True, kw_only=True)
class ModelTarget(_Tensors):
    """The true spans in time steps and the true boxes as fractions of the frame."""

    boxes: Tensor
    """float32 (B, T, 4): xyxy in [0, 1]; ignored where `box_mask` is False."""
    box_mask: Tensor
    """bool (B, T): time steps inside the true span that have a box."""
    span: Tensor
    """float32 (B, 2): start and end in time steps; time step t covers [t, t + 1)."""


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """Raw predictions of GKCMN and GKCMN+."""

    heatmap_logits: Tensor
    """float32 (B, T, L, L): logits of the heatmaps; rows are y."""
    distances: Tensor
    """float32 (B, T, 4, L, L): left, top, right, bottom from each cell's center, in cells, not negative."""
    score_logits: Tensor
    """float32 (B, T, K): logits of the predicted IoU of each proposal."""
    offsets: Tensor
    """float32 (B, T, K, 2): corrections to the start and end of each proposal, in time steps."""
    step_logits: Tensor
    """float32 (B, T, 3): logits of a time step to be inside the span, the first and the last; 0 if the span is decoded
    from proposals."""
    gaze: Tensor
    """float32 (B, T, 49): log weights of the cells in the temporal head's spatial pooling."""
