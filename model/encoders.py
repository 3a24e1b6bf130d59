"""Encoders of video and sentence (paper, section 2.1).

Letters: B samples, T steps, N words, C I3D channels, d visual width, W word width, D sentence width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.layers import BiGru, ChannelNorm, SelfAttention, masked_mean


class VideoEncoder(nn.Module):
    """A learnt 1x1 projection of I3D's maps: (B, T, C, 7, 7) -> V (B, d, T, 7, 7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project = nn.Conv3d(config.feature_channels, config.visual_width, 1)
        self.norm = ChannelNorm(config.visual_width)

    def forward(self, features: Tensor) -> Tensor:
        # Stores hold float16; the model computes in its own type.
        volume = features.to(self.project.weight.dtype).transpose(1, 2)
        out: Tensor = self.norm(self.project(volume))
        return out


class SentenceEncoder(nn.Module):
    """GloVe -> self-attention -> BiGRU -> pooled: words (B, N, W) -> sentence (B, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pooling = config.sentence_pooling
        self.project = nn.Linear(config.word_dim, config.sentence_width)
        self.attention = SelfAttention(
            config.sentence_width,
            layers=config.attention_layers,
            heads=config.attention_heads,
            dropout=config.dropout,
        )
        self.gru = BiGru(config.sentence_width, config.sentence_width // 2)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        states, last = self.gru(self.attention(self.project(words), mask), mask)
        return masked_mean(states, mask) if self.pooling == "mean" else last


class CrossModalInteraction(nn.Module):
    """Eq. 1: V (B, d, T, 7, 7) and the sentence (B, D), tiled, -> F_f2 (B, D', T, 7, 7).

    Half of F_f2's channels hold what video and sentence agree on, half the video alone.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        half = config.fused_width // 2
        self.video_gate = nn.Conv3d(config.visual_width, half, 1)  # W_v1
        self.sentence_gate = nn.Linear(config.sentence_width, half)  # W_s1
        self.joint = nn.Conv3d(half, half, 1)  # W_f2
        self.video = nn.Conv3d(config.visual_width, half, 1)  # W_v2
        # Each g has a norm of its own: a product of two small numbers would leave the query unheard.
        self.norms = nn.ModuleList(ChannelNorm(half) for _ in range(4))

    def forward(self, video: Tensor, sentence: Tensor) -> Tensor:
        gated, tiled = self._g(0, self.video_gate(video)), self._g(1, self.sentence_gate(sentence))
        agreed = gated * tiled[:, :, None, None, None]  # F_f1
        return torch.cat([self._g(2, self.joint(agreed)), self._g(3, self.video(video))], dim=1)

    def _g(self, index: int, x: Tensor) -> Tensor:
        return functional.gelu(self.norms[index](x))
