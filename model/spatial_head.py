"""The spatial location head (paper, section 2.3): it predicts a heatmap and box distances for each time step.

Letters: B samples, F channels (D'), T time steps, L heatmap side, M selected time steps of all samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.layers import ChannelNorm, SpatialConv

PRIOR = 0.01
"""Initial probability of a cell. The focal loss is unstable if it starts at 0.5 [17]."""
INITIAL_CELLS = 2.0
"""Initial distance to each side of the box, in cells."""


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
        # A 16 x 16 map has 5 times as many cells as a 7 x 7 map; half the width limits the cost of the head.
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

    def forward(self, mixed: Tensor, located: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict heatmap logits and distances.

        Args:
            mixed: M_mix, float (B, F, T, 7, 7).
            located: bool (B, T), the time steps to compute; None means all. The outputs of the others are zero.

        Returns:
            heatmap logits float (B, T, L, L), and distances float (B, T, 4, L, L) in cells, not negative.
        """
        if located is None:
            located = torch.ones(mixed.shape[0], mixed.shape[2], dtype=torch.bool, device=mixed.device)
        frames = mixed.transpose(1, 2)[located].transpose(0, 1)[None]  # (1, F, M, 7, 7)
        up = self.smooth(self._upsample(frames))  # M_up: (1, F / 2, M, L, L)
        heatmap = self.point(up)[0, 0]  # (M, L, L)
        distances = functional.softplus(self.extent(up))[0].transpose(0, 1)  # (M, 4, L, L)
        return _spread(heatmap, located), _spread(distances, located)

    def _upsample(self, frames: Tensor) -> Tensor:
        flat = frames[0].transpose(0, 1)
        if self.transposed:
            flat = torch.relu(self.grow_norm(self.grow(flat)))
        size = (self.size, self.size)
        grown = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
        return grown.transpose(0, 1)[None]


def _spread(values: Tensor, located: Tensor) -> Tensor:
    """Scatter the values (M, ...) of the selected time steps to their positions: (B, T, ...), zero elsewhere."""
    return values.new_zeros(*located.shape, *values.shape[1:]).masked_scatter(
        located[(...,) + (None,) * (values.dim() - 1)], values
    )
