"""Encoders of video and sentence (paper, section 2.1).

Letters: V videos, B samples, T steps, N words, C I3D channels, d visual width, W word width, D sentence width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.layers import BiGru, ChannelNorm, SelfAttention, masked_mean

MIN_DEVIATION = 1e-2
"""Of a number of the word vectors: a vocabulary of one word has none."""
JOINT = 4
"""Width of the product of video and sentence, in halves of D'."""


class VideoEncoder(nn.Module):
    """A learnt 1x1 projection of I3D's maps: (V, T, C, 7, 7) -> (V, d, T, 7, 7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(config.dropout)  # of whole I3D channels
        self.project = nn.Conv2d(config.feature_channels, config.visual_width, 1)
        self.norm = ChannelNorm(config.visual_width)

    def forward(self, features: Tensor) -> Tensor:
        # Stores hold float16; the model computes in its own type.
        frames = features.to(self.project.weight.dtype).flatten(0, 1)
        # Frame by frame, because to turn all of I3D's channels round costs more than the projection.
        projected: Tensor = self.norm(self.project(self.dropout(frames)))
        return projected.unflatten(0, features.shape[:2]).transpose(1, 2)


class SentenceEncoder(nn.Module):
    """GloVe -> self-attention -> BiGRU: words (B, N, W) -> states (B, N, D), and pooled to a sentence (B, D)."""

    word_mean: Tensor
    word_deviation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pooling = config.sentence_pooling
        # Of GloVe vectors most is common to all words, and drowns what tells "red" from "blue".
        self.register_buffer("word_mean", torch.zeros(config.word_dim))
        self.register_buffer("word_deviation", torch.ones(config.word_dim))
        self.project = nn.Linear(config.word_dim, config.sentence_width)
        self.scale = math.sqrt(config.sentence_width)  # as in [15]: else the position codes drown the words
        self.attention = SelfAttention(
            config.sentence_width,
            layers=config.attention_layers,
            heads=config.attention_heads,
            dropout=config.dropout,
        )
        self.gru = BiGru(config.sentence_width, config.sentence_width // 2)

    def standardise(self, vocabulary: Tensor) -> None:
        """Take the mean and the deviation of each number from word vectors (word, W), to standardise all words by."""
        self.word_mean.copy_(vocabulary.mean(dim=0))
        self.word_deviation.copy_(vocabulary.std(dim=0, correction=0).clamp(min=MIN_DEVIATION))

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        standard = (words - self.word_mean) / self.word_deviation
        states, last = self.gru(self.attention(self.scale * self.project(standard), mask), mask)
        return states, masked_mean(states, mask) if self.pooling == "mean" else last


class CrossModalInteraction(nn.Module):
    """Eq. 1: videos (V, d, T, 7, 7) and sentences (B, D), tiled, -> F_f2 (B, D', T, 7, 7).

    Half of F_f2's channels hold what video and sentence agree on, half the video alone. Beyond the paper, with
    `config.interaction` "words", each cell is met by the words that it attends to in place of the tiled sentence.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        half = config.fused_width // 2
        # What cells and sentences can agree on are as many things as the product is wide.
        joint = JOINT * half
        self.video_gate = nn.Conv3d(config.visual_width, joint, 1)  # W_v1
        self.sentence_gate = nn.Linear(config.sentence_width, joint)  # W_s1
        self.joint = nn.Conv3d(joint, half, 1)  # W_f2
        self.video = nn.Conv3d(config.visual_width, half, 1)  # W_v2
        # Each g has a norm of its own: a product of two small numbers would leave the query unheard.
        self.norms = nn.ModuleList(ChannelNorm(width) for width in (joint, joint, half, half))
        self.attention = WordAttention(config) if config.interaction == "words" else None

    def forward(self, video: Tensor, index: Tensor, states: Tensor, mask: Tensor, sentence: Tensor) -> Tensor:
        """Meet each sentence with its video.

        Args:
            video: float (V, d, T, 7, 7).
            index: int64 (B,), each sentence's video.
            states: float (B, N, D), and their mask, bool (B, N).
            mask: see `states`.
            sentence: float (B, D).
        """
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
    """What each cell hears of a sentence: its words' values (B, N, F), weighed by each cell -> (B, F, T, 7, 7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cell = nn.Conv3d(config.visual_width, config.visual_width, 1)
        self.word = nn.Linear(config.sentence_width, config.visual_width)

    def forward(self, video: Tensor, index: Tensor, states: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        cells = self.cell(video).flatten(2).transpose(1, 2)[index]
        heard = functional.scaled_dot_product_attention(cells, self.word(states), values, mask[:, None])
        return heard.transpose(1, 2).unflatten(2, video.shape[2:])
