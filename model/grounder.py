"""What every model of this project is to the pipeline: a network, its losses, and its answer.

Letters: B samples, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.encoders import SentenceEncoder
from model.io import ModelInput, ModelTarget

Output = TypeVar("Output")


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Scalars, each a mean over the batch's samples. What the four are is each model's to say."""

    location: Tensor
    size: Tensor
    confidence: Tensor
    boundary: Tensor
    total: Tensor


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


def weighted(parts: list[Tensor], weights: tuple[float, float, float, float]) -> Losses:
    """Means over a batch of four parts (B,) each, and their weighted sum (Eq. 10)."""
    location, size, confidence, boundary = means = [part.mean() for part in parts]
    total = torch.stack([weight * mean for weight, mean in zip(weights, means, strict=True)]).sum()
    return Losses(location=location, size=size, confidence=confidence, boundary=boundary, total=total)
