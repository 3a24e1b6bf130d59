"""Inception-I3D up to Mixed_5c, for inference.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset" (CVPR 2017). The
network is the Inception-v1 image network with its filters extended by a time axis.

This module defines the trunk of the network as a sequence of named layers. It reproduces the arithmetic with which the
published weights were trained: TensorFlow's SAME padding (with the larger half at the end), and a batch norm without
gamma and with eps 1e-3. The batch norm is folded into the preceding convolution (``extract/i3d/weights.py``), so a
convolution here consists of weight, bias and ReLU. The layers after Mixed_5c (average pool, logits) are omitted.

Dimension letters:
    B clips, C channels, T frames (time), H rows, W columns.
Sizes of an 8-frame clip along the trunk, as (C, T, H, W):
    (3, 8, 224, 224) -> 1a (64, 4, 112, 112) -> 2a (64, 4, 56, 56) -> 3a (192, 4, 28, 28)
    -> 4a (480, 2, 14, 14) -> 5a (832, 1, 7, 7) -> Mixed_5c (1024, 1, 7, 7)
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (PyTorch's own name for it)

# Channels of each inception block, in order: b0 (1x1x1); b1a (1x1x1) -> b1b (3x3x3); b2a (1x1x1) -> b2b (3x3x3); b3b
# (1x1x1, after a max pool).
_MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Kernel and stride of each pool, as (T, H, W). A pool precedes the block with the same number.
_POOLS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
CHANNELS = 1024
"""Number of channels of the feature map."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding of one axis.

    Args:
        size: length of the axis.
        kernel: kernel size along the axis.
        stride: stride along the axis.

    Returns:
        The padding before and after the data; if the total is odd, the padding after is larger by one.
    """
    out_size = -(-size // stride)
    total = max((out_size - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad_same(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float
) -> tuple[Tensor, tuple[int, int, int]]:
    """Apply SAME padding to x (B, C, T, H, W), or return the padding that the operation must apply itself.

    Symmetric padding, which is the common case, is left to the operation, because that avoids a copy.
    """
    t, h, w = (same_padding(n, k, s) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True))
    if all(before == after for before, after in (t, h, w)):
        return x, (t[0], h[0], w[0])
    return F.pad(x, (*w, *h, *t), value=value), (0, 0, 0)


class ConvUnit(nn.Conv3d):
    """Convolution with SAME padding, bias and ReLU: (B, C, T, H, W) -> (B, C', T/s, H/s, W/s), rounded up."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        x, padding = _pad_same(x, self.kernel_size, self.stride, 0.0)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding).relu_()


class MaxPool(nn.Module):
    """Max pool with SAME padding of -inf: (B, C, T, H, W) -> (B, C, T/s, H/s, W/s), rounded up."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        x, padding = _pad_same(x, self.kernel, self.stride, float("-inf"))
        return F.max_pool3d(x, self.kernel, self.stride, padding)


class InceptionBlock(nn.Module):
    """Four parallel branches, concatenated: (B, C, T, H, W) -> (B, c0 + c1b + c2b + c3b, T, H, W)."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3b = channels
        self.b0 = ConvUnit(in_channels, c0, 1)
        self.b1a = ConvUnit(in_channels, c1a, 1)
        self.b1b = ConvUnit(c1a, c1b, 3)
        self.b2a = ConvUnit(in_channels, c2a, 1)
        self.b2b = ConvUnit(c2a, c2b, 3)
        self.b3a = MaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = ConvUnit(in_channels, c3b, 1)
        self.out_channels = c0 + c1b + c2b + c3b

    def forward(self, x: Tensor) -> Tensor:
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat(branches, dim=1)


class InceptionI3d(nn.Sequential):
    """The trunk: float (B, 3, T, 224, 224), RGB in [-1, 1] -> (B, 1024, T/8 rounded up, 7, 7), not negative.

    Other sizes are accepted; H and W are divided by 32 and rounded up. The children are the paper's endpoints in order,
    under their published names. The state dict has the keys ``<endpoint>[.<branch>].weight`` (O, I, T, H, W) and
    ``.bias`` (O,), as created by ``extract/i3d/weights.py``.
    """

    def __init__(self) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            Conv3d_1a_7x7=ConvUnit(3, 64, 7, stride=2),
            MaxPool3d_2a_3x3=MaxPool(*_POOLS["MaxPool3d_2a_3x3"]),
            Conv3d_2b_1x1=ConvUnit(64, 64, 1),
            Conv3d_2c_3x3=ConvUnit(64, 192, 3),
            MaxPool3d_3a_3x3=MaxPool(*_POOLS["MaxPool3d_3a_3x3"]),
        )
        channels = 192
        for name, widths in _MIXED.items():
            pool = {"Mixed_4b": "MaxPool3d_4a_3x3", "Mixed_5b": "MaxPool3d_5a_2x2"}.get(name)
            if pool is not None:
                layers[pool] = MaxPool(*_POOLS[pool])
            block = InceptionBlock(channels, widths)
            layers[name], channels = block, block.out_channels
        super().__init__(layers)
