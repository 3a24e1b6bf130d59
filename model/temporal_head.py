"""The temporal location head (paper, section 2.4): it scores proposals and predicts their offsets.

Letters: B samples, F channels (D'), D sentence width, T time steps, K proposal widths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers import BiGru, MaskedConv1d, SelfAttention, VolumeConv, standardise_over_time

KERNELS = (1, 3, 5)
"""Kernel sizes in time steps of the three parallel convolutions (paper: "differentiated time-length features")."""


class TemporalHead(nn.Module):
    """M_mix (B, F, T, 7, 7) and a sentence (B, D) -> score logits (B, T, K) and offsets (B, T, K, 2) in time steps."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, widths = config.fused_width, len(config.candidate_widths)
        self.scales = nn.ModuleList(VolumeConv(width, width // 2, (kernel, 1, 1)) for kernel in KERNELS)
        # No norm: a channel norm would rescale empty cells to the object's magnitude, and they would dominate the mean.
        self.merge = VolumeConv(len(KERNELS) * (width // 2), width, normed=False)
        self.weigh = nn.Conv3d(width, 1, 1) if config.temporal_pooling == "attention" else None
        if self.weigh is not None:
            nn.init.zeros_(self.weigh.weight)  # initially the mean
        self.query = nn.Sequential(nn.LayerNorm(config.sentence_width), nn.Linear(config.sentence_width, width))
        self.attention = (
            None
            if config.ablation == "no_temporal_attention"
            else SelfAttention(
                width, layers=config.attention_layers, heads=config.attention_heads, dropout=config.dropout
            )
        )
        self.score_gru, self.offset_gru = BiGru(width, width // 2), BiGru(width, width // 2)
        self.score = MaskedConv1d(width, widths, config.span_kernel)
        self.offset = MaskedConv1d(width, 2 * widths, config.span_kernel)
        self.step = MaskedConv1d(width, 3) if config.span_choice == "steps" else None

    def forward(self, mixed: Tensor, sentence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score all proposals and predict their offsets.

        Args:
            mixed: M_mix, float (B, F, T, 7, 7).
            sentence: float (B, D).
            mask: bool (B, T), False at padded time steps.

        Returns:
            score logits (B, T, K), offsets (B, T, K, 2), time step logits (B, T, 3), and the log weights of the
            spatial pooling (B, T, 49).
        """
        volume = torch.cat([scale(mixed, mask) for scale in self.scales], dim=1)  # (B, 3 * (F / 2), T, 7, 7)
        gaze = self._gaze(mixed)  # (B, T, 49)
        # (B, T, F)
        pooled = (self.merge(volume, mask).flatten(-2) * gaze.exp()[:, None]).sum(dim=-1).transpose(1, 2)
        # The time-varying part of the spatial mean is small; standardizing over time speeds up learning. It also
        # removes everything that is constant in time, including the sentence, so the sentence is added again.
        sequence = standardise_over_time(pooled, mask) + self.query(sentence)[:, None]
        if self.attention is not None:
            sequence = self.attention(sequence, mask)
        states = self.score_gru(sequence, mask)[0]
        scores = self.score(states, mask)
        step = scores.new_zeros((*scores.shape[:2], 3)) if self.step is None else self.step(states, mask)
        offsets = self.offset(self.offset_gru(sequence, mask)[0], mask)
        return scores, offsets.unflatten(-1, (-1, 2)), step, gaze

    def _gaze(self, mixed: Tensor) -> Tensor:
        logits = mixed.new_zeros(mixed.shape[0], 1, *mixed.shape[2:]) if self.weigh is None else self.weigh(mixed)
        return logits.flatten(-2)[:, 0].log_softmax(dim=-1)
