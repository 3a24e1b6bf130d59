"""The mixed serial and parallel convolutional network (Eq. 2-4).

Letters: B samples, F channels (D'), T time steps, H = W = 7.
"""

from __future__ import annotations

from torch import Tensor, nn

from model.config import ModelConfig
from model.layers import SpatialConv, VolumeConv


class MixedNetwork(nn.Module):
    """F_f2 (B, F, T, H, W) -> M_mix of the same shape: K^3 * F_f2 + M_ser + F_f2 (Eq. 4).

    M_ser = K^3 * (K^2 * F_f2) is the serial path (Eq. 2). The first K^3 * F_f2 is the temporal term of the parallel
    path (Eq. 3). The ablations of Table 3 omit one or both of these terms.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.fused_width
        self.has_serial = config.ablation not in ("no_serial", "no_mixed")
        self.has_parallel = config.ablation not in ("no_parallel", "no_mixed")
        if self.has_serial:
            self.serial_frame = SpatialConv(width, width)
            self.serial_volume = VolumeConv(width, width)
        if self.has_parallel:
            self.parallel_volume = VolumeConv(width, width)

    def forward(self, fused: Tensor, mask: Tensor) -> Tensor:
        mixed = fused  # F_f2; every term has its shape
        if self.has_serial:
            mixed = mixed + self.serial_volume(self.serial_frame(fused), mask)
        if self.has_parallel:
            mixed = mixed + self.parallel_volume(fused, mask)
        return mixed
