"""What every model of this project is to the pipeline: a network, its losses, and its answer.

Letters: B samples, T steps.
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
    """Scalars, each a mean over the batch's samples."""

    parts: Mapping[str, Tensor]
    """By the names that the model gives them."""
    total: Tensor
    """The weighted sum of the parts."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One span a sample, and one box a step."""

    spans: Tensor
    """float (B, 2), in steps, start < end."""
    scores: Tensor
    """float (B,), in [0, 1]."""
    boxes: Tensor
    """float (B, T, 4), xyxy in [0, 1]."""


class Grounder(nn.Module, ABC, Generic[Output]):
    """A padded batch in; raw output, its losses, and what is read from it."""

    sentence: SentenceEncoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, inputs: ModelInput, located: Tensor | None = None) -> Output:
        """Run the network. `located`, bool (B, T), are the steps whose boxes are wanted; None is all of them."""

    @abstractmethod
    def losses(self, output: Output, inputs: ModelInput, target: ModelTarget) -> Losses:
        """The losses of a batch. Each sample weighs the same, however long it is."""

    @abstractmethod
    def answer(self, output: Output, lengths: Tensor, spans: Tensor | None = None) -> Answer:
        """Read spans and boxes.

        Args:
            output: of the network.
            lengths: int (B,), the samples' steps.
            spans: float (B, 2), in steps, where they are known; they are kept.
        """


def weighted(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Losses:
    """Means over a batch of named parts (B,) each, and their sum, each weighed by the weight of its name (Eq. 10)."""
    means = {name: part.mean() for name, part in parts.items()}
    total = torch.stack([weights[name] * mean for name, mean in means.items()]).sum()
    return Losses(parts=means, total=total)
