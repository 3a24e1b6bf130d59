"""Layers that respect a mask: padding a batch never changes the result of a sample.

Normalization uses only the channels of one position or the valid time steps of one sample; other statistics would
include padding. Letters: B samples, T time steps, F channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average values (B, T, F) over the positions where the mask (B, T) is True: (B, F)."""
    weights = mask.to(values.dtype)[..., None]
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def standardise_over_time(values: Tensor, mask: Tensor) -> Tensor:
    """Scale each channel of each sample to zero mean and unit variance over its valid time steps.

    Args:
        values: float (B, T, F).
        mask: bool (B, T), False at padded time steps.

    Returns:
        float (B, T, F).
    """
    centred = values - masked_mean(values, mask)[:, None]
    variance = masked_mean(centred.square(), mask)[:, None]
    return centred * torch.rsqrt(variance + 1e-5)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over dimension 1 of (B, F, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class SpatialConv(nn.Module):
    """K^2: a 2D convolution of each time step, a norm and a ReLU. (B, F, T, H, W) -> (B, F', T, H, W)."""

    def __init__(self, width_in: int, width_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, kernel, padding=kernel // 2)
        self.norm = ChannelNorm(width_out)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        frames = x.transpose(1, 2).flatten(0, 1)  # reshape of Eq. 2: (B * T, F, H, W)
        out = self.conv(frames).unflatten(0, (batch, -1)).transpose(1, 2)  # reshape'
        return torch.relu(self.norm(out))


class VolumeConv(nn.Module):
    """K^3: a 3D convolution, a norm and a ReLU. (B, F, T, H, W) -> (B, F', T, H, W).

    `normed=False` omits the norm. Padded time steps, where the mask (B, T) is False, are set to zero first, like the
    convolution's own padding.
    """

    def __init__(
        self, width_in: int, width_out: int, kernel: tuple[int, int, int] = (3, 3, 3), *, normed: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(width_in, width_out, kernel, padding=padding)
        self.norm = ChannelNorm(width_out) if normed else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        kept = x * mask[:, None, :, None, None].to(x.dtype)
        return torch.relu(self.norm(self._convolve(kept)))

    def _convolve(self, x: Tensor) -> Tensor:
        if self.conv.kernel_size[1:] != (1, 1):
            return self.conv(x)
        # A kernel over time only equals a 2D convolution over (time steps, cells), which is 4 times as fast on a CPU.
        padding = (self.conv.kernel_size[0] // 2, 0)
        flat = functional.conv2d(x.flatten(3), self.conv.weight.flatten(3), self.conv.bias, padding=padding)
        return flat.unflatten(3, x.shape[3:])


def position_codes(steps: int, width: int, device: torch.device) -> Tensor:
    """Compute the sinusoidal position codes of [15].

    Args:
        steps: T.
        width: F, even.
        device: device of the result.

    Returns:
        float32 (T, F).
    """
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(steps, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class SelfAttention(nn.Module):
    """Position codes, then layers of masked multi-head self-attention [15]. (B, T, F) -> (B, T, F)."""

    def __init__(self, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=2 * width, dropout=dropout, batch_first=True, norm_first=True
        )
        # The output of pre-norm layers is unbounded; a final norm prevents the following GRU from saturating.
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        coded = x + position_codes(x.shape[1], x.shape[2], x.device)
        out: Tensor = self.encoder(coded, src_key_padding_mask=~mask)
        return out


class BiGru(nn.Module):
    """A bidirectional GRU that skips padding. (B, T, F) -> (B, T, 2 * width)."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width_in, width, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Run the GRU over the valid positions.

        Args:
            x: float (B, T, F).
            mask: bool (B, T), False at padded positions.

        Returns:
            all states float (B, T, 2 * width), zero at padded positions, and the last states of both directions
            (B, 2 * width).
        """
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])
        return padded, torch.cat([last[0], last[1]], dim=-1)


class MaskedConv1d(nn.Conv1d):
    """A 1D convolution over time with "same" padding. (B, T, F) -> (B, T, F')."""

    def __init__(self, width_in: int, width_out: int, kernel: int = 3) -> None:
        super().__init__(width_in, width_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override] # additional argument: the mask
        kept = x * mask[..., None].to(x.dtype)
        return super().forward(kept.transpose(1, 2)).transpose(1, 2)
