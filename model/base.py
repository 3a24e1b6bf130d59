"""The interface that all models share: a network, its losses and the decoding of its output.

Letters: B samples, T time steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.encoders import SentenceEncoder
from model.inputs import ModelInput, ModelTarget

Output = TypeVar("Output")


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Losses of a batch: scalars, each the mean over the samples."""

    parts: Mapping[str, Tensor]
    """The individual losses; each model defines their names."""
    total: Tensor
    """The weighted sum of the parts."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Decoded predictions: one span per sample and one box per time step."""

    spans: Tensor
    """float (B, 2): start and end in time steps, start < end."""
    scores: Tensor
    """float (B,), in [0, 1]."""
    boxes: Tensor
    """float (B, T, 4), xyxy in [0, 1]."""


class Grounder(nn.Module, ABC, Generic[Output]):
    """Base class of the models. It maps a padded batch to raw output, computes losses and decodes predictions."""

    sentence: SentenceEncoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, inputs: ModelInput, located: Tensor | None = None) -> Output:
        """Run the network.

        Args:
            inputs: a padded batch.
            located: bool (B, T), the time steps whose boxes are needed; None means all.
        """

    @abstractmethod
    def losses(self, output: Output, inputs: ModelInput, target: ModelTarget) -> Losses:
        """Compute the losses of a batch. Each sample has the same weight, regardless of its length."""

    @abstractmethod
    def answer(self, output: Output, lengths: Tensor, spans: Tensor | None = None) -> Answer:
        """Decode spans and boxes.

        Args:
            output: the result of `forward`.
            lengths: int (B,), the number of time steps of each sample.
            spans: float (B, 2), known spans in time steps to use instead of predicted ones; None predicts them.
        """


def weighted(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Losses:
    """Average each named loss over the batch and compute the weighted sum of the averages (Eq. 10).

    Args:
        parts: float (B,) per-sample losses by name.
        weights: the weight of each loss by name.
    """
    means = {name: part.mean() for name, part in parts.items()}
    total = torch.stack([weights[name] * mean for name, mean in means.items()]).sum()
    return Losses(parts=means, total=total)
