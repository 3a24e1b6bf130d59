"""Video encoder, sentence encoder and cross-modal interaction (paper, section 2.1).

Letters: V videos, B samples, T time steps, N words, C I3D channels, d visual width, W word vector dimension, D sentence
width, F any width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.layers import BiGru, ChannelNorm, SelfAttention, masked_mean

MIN_DEVIATION = 1e-2
"""Lower limit of the standard deviation of a word vector's component; it is 0 in a vocabulary of one word."""
JOINT = 4
"""Width of the product of video and sentence, in units of D' / 2."""


class VideoEncoder(nn.Module):
    """A learned 1x1 projection of the I3D feature maps: (V, T, C, 7, 7) -> (V, d, T, 7, 7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(config.dropout)  # drops entire I3D channels
        self.project = nn.Conv2d(config.feature_channels, config.visual_width, 1)
        self.norm = ChannelNorm(config.visual_width)

    def forward(self, features: Tensor) -> Tensor:
        # Stores contain float16; convert to the model's type.
        frames = features.to(self.project.weight.dtype).flatten(0, 1)  # (V * T, C, 7, 7)
        # Project each time step as a 2D image: transposing all I3D channels costs more than the projection.
        projected: Tensor = self.norm(self.project(self.dropout(frames)))  # (V * T, d, 7, 7)
        return projected.unflatten(0, features.shape[:2]).transpose(1, 2)


class SentenceEncoder(nn.Module):
    """GloVe vectors -> self-attention -> BiGRU: words (B, N, W) -> states (B, N, D) and a sentence vector (B, D)."""

    word_mean: Tensor
    word_deviation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pooling = config.sentence_pooling
        # A large part of a GloVe vector is common to all words and hides the difference between "red" and "blue".
        self.register_buffer("word_mean", torch.zeros(config.word_dim))
        self.register_buffer("word_deviation", torch.ones(config.word_dim))
        self.project = nn.Linear(config.word_dim, config.sentence_width)
        self.scale = math.sqrt(config.sentence_width)  # as in [15]; otherwise position codes dominate
        self.attention = SelfAttention(
            config.sentence_width,
            layers=config.attention_layers,
            heads=config.attention_heads,
            dropout=config.dropout,
        )
        self.gru = BiGru(config.sentence_width, config.sentence_width // 2)

    def standardise(self, vocabulary: Tensor) -> None:
        """Set the mean and standard deviation that standardize word vectors.

        Args:
            vocabulary: float (words, W), the word vectors to compute them from.
        """
        self.word_mean.copy_(vocabulary.mean(dim=0))
        self.word_deviation.copy_(vocabulary.std(dim=0, correction=0).clamp(min=MIN_DEVIATION))

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        standard = (words - self.word_mean) / self.word_deviation
        states, last = self.gru(self.attention(self.scale * self.project(standard), mask), mask)
        return states, masked_mean(states, mask) if self.pooling == "mean" else last


class CrossModalInteraction(nn.Module):
    """Eq. 1: videos (V, d, T, 7, 7) and tiled sentences (B, D) -> F_f2 (B, D', T, 7, 7).

    Half of the channels of F_f2 encode the product of video and sentence, the other half the video only. With
    `config.interaction` "words" (GKCMN+), each cell attends to the words, and their weighted mean replaces the tiled
    sentence.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        half = config.fused_width // 2
        # The width of the product limits how many attributes video and sentence can be matched on.
        joint = JOINT * half
        self.video_gate = nn.Conv3d(config.visual_width, joint, 1)  # W_v1
        self.sentence_gate = nn.Linear(config.sentence_width, joint)  # W_s1
        self.joint = nn.Conv3d(joint, half, 1)  # W_f2
        self.video = nn.Conv3d(config.visual_width, half, 1)  # W_v2
        # Normalize each branch: otherwise the product of two small activations hides the query.
        self.norms = nn.ModuleList(ChannelNorm(width) for width in (joint, joint, half, half))
        self.attention = WordAttention(config) if config.interaction == "words" else None

    def forward(self, video: Tensor, index: Tensor, states: Tensor, mask: Tensor, sentence: Tensor) -> Tensor:
        """Fuse each sentence with its video.

        Args:
            video: float (V, d, T, 7, 7), encoded videos.
            index: int64 (B,), the video of each sentence.
            states: float (B, N, D), states of the words.
            mask: bool (B, N), False at padded words.
            sentence: float (B, D), sentence vectors.

        Returns:
            F_f2, float (B, D', T, 7, 7).
        """
        # (B, 2 D', T, 7, 7), (B, D' / 2, T, 7, 7)
        gated, alone = self._g(0, self.video_gate(video))[index], self._g(3, self.video(video))[index]
        if self.attention is None:
            heard = self._g(1, self.sentence_gate(sentence))[:, :, None, None, None]
        else:
            words = self.sentence_gate(states + sentence[:, None])
            heard = self._g(1, self.attention(video, index, states, words, mask))
        return torch.cat([self._g(2, self.joint(gated * heard)), alone], dim=1)

    def _g(self, index: int, x: Tensor) -> Tensor:
        return functional.gelu(self.norms[index](x))


class WordAttention(nn.Module):
    """Attention of each cell to the words of its sentence: word values (B, N, F) -> (B, F, T, 7, 7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cell = nn.Conv3d(config.visual_width, config.visual_width, 1)
        self.word = nn.Linear(config.sentence_width, config.visual_width)

    def forward(self, video: Tensor, index: Tensor, states: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        cells = self.cell(video).flatten(2).transpose(1, 2)[index]  # (B, T * 49, d)
        heard = functional.scaled_dot_product_attention(cells, self.word(states), values, mask[:, None])
        return heard.transpose(1, 2).unflatten(2, video.shape[2:])
