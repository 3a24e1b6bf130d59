"""The spatial location head (paper, section 2.3): where in each frame.

Letters: B samples, F channels (D'), T steps, L map side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.layers import ChannelNorm, SpatialConv

PRIOR = 0.01
"""Probability of a cell before training: focal loss is unstable when it starts at one half [17]."""
INITIAL_CELLS = 2.0
"""Distance to each side of the box before training."""


class SpatialHead(nn.Module):
    """M_mix (B, F, T, 7, 7) -> heatmap logits (B, T, L, L) and distances (B, T, 4, L, L) in cells."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.fused_width
        self.size = config.heatmap_size
        self.transposed = config.upsampling == "transposed"
        if self.transposed:
            self.grow = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
            self.grow_norm = ChannelNorm(width)
        # An L x L map has five times the cells of a 7 x 7 one: half the width keeps the head affordable.
        half = width // 2
        self.smooth = SpatialConv(width, half)
        self.point = nn.Sequential(SpatialConv(half, half), nn.Conv3d(half, 1, 1))
        self.extent = nn.Sequential(SpatialConv(half, half), nn.Conv3d(half, 4, 1))
        point, extent = self.point[-1], self.extent[-1]
        assert isinstance(point, nn.Conv3d)
        assert isinstance(extent, nn.Conv3d)
        assert point.bias is not None
        assert extent.bias is not None
        nn.init.constant_(point.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.constant_(extent.bias, math.log(math.expm1(INITIAL_CELLS)))

    def forward(self, mixed: Tensor) -> tuple[Tensor, Tensor]:
        up = self.smooth(self._upsample(mixed))  # M_up
        heatmap: Tensor = self.point(up).squeeze(1)
        distances: Tensor = functional.softplus(self.extent(up)).transpose(1, 2)
        return heatmap, distances

    def _upsample(self, mixed: Tensor) -> Tensor:
        batch = mixed.shape[0]
        frames = mixed.transpose(1, 2).flatten(0, 1)
        if self.transposed:
            frames = torch.relu(self.grow_norm(self.grow(frames)))
        grown = functional.interpolate(frames, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return grown.unflatten(0, (batch, -1)).transpose(1, 2)
