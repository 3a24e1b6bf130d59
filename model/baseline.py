"""BM, the paper's anchor-free baseline: GKCMN without the mixed network and the location heads.

F_f2 is averaged over space. From the resulting sequence an MLP regresses one box per time step, and a BiGRU predicts
the first and the last time step of the span.

Letters: B samples, F channels (D'), T time steps, D sentence width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.base import Answer, Grounder, Losses, weighted
from model.boundaries import ends_entropy, ends_log_probability, likeliest_ends
from model.boxes import box_giou
from model.config import ModelConfig
from model.encoders import CrossModalInteraction, SentenceEncoder, VideoEncoder
from model.inputs import ModelInput, ModelTarget
from model.layers import BiGru, MaskedConv1d

LOSS_WEIGHTS = {"L1": 5.0, "GIoU": 2.0, "start": 1.0, "end": 1.0}
"""Weights of the losses: L1 distance of box coordinates, 1 - GIoU, cross-entropy of the first and last time step."""


@dataclass(frozen=True, kw_only=True)
class BaselineOutput:
    """Raw predictions of BM."""

    boxes: Tensor
    """float32 (B, T, 4): logits of center and size; a sigmoid maps them to [0, 1]."""
    ends: Tensor
    """float32 (B, T, 2): log probabilities that a time step is the first, and the last, of the span; -inf at padded
    time steps."""


class Baseline(Grounder[BaselineOutput]):
    """BM: features and a query in, one box per time step and the boundaries of the span out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width = config.fused_width
        self.video = VideoEncoder(config)
        self.sentence = SentenceEncoder(config)
        self.interaction = CrossModalInteraction(config)
        self.box = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
        self.gru = BiGru(width, width // 2)
        self.ends = MaskedConv1d(width, 2)

    def forward(self, inputs: ModelInput, located: Tensor | None = None) -> BaselineOutput:  # noqa: ARG002 - computing all boxes is cheap
        states, sentence = self.sentence(inputs.words, inputs.word_mask)  # (B, N, D), (B, D)
        # F_f2: (B, F, T, 7, 7)
        fused = self.interaction(self.video(inputs.features), inputs.video, states, inputs.word_mask, sentence)
        sequence = fused.mean(dim=(-2, -1)).transpose(1, 2)  # (B, T, F)  # (B, T, F)
        ends = self.ends(self.gru(sequence, inputs.step_mask)[0], inputs.step_mask)
        return BaselineOutput(boxes=self.box(sequence), ends=ends_log_probability(ends, inputs.step_mask))

    def losses(self, output: BaselineOutput, inputs: ModelInput, target: ModelTarget) -> Losses:
        """Compute L1 (summed over the four coordinates), 1 - GIoU, and the cross-entropies of both boundaries."""
        steps = target.box_mask.to(output.boxes.dtype)
        count = steps.sum(dim=1).clamp(min=1)
        boxes = _boxes(output.boxes)
        sides = (boxes - target.boxes).abs().sum(dim=-1)
        giou = box_giou(boxes, target.boxes)
        start, end = ends_entropy(output.ends, target.span, inputs.step_mask.sum(dim=1)).unbind(dim=1)
        parts = {
            "L1": (sides * steps).sum(dim=1) / count,
            "GIoU": ((1 - giou) * steps).sum(dim=1) / count,
            "start": start,
            "end": end,
        }
        return weighted(parts, LOSS_WEIGHTS)

    def answer(self, output: BaselineOutput, lengths: Tensor, spans: Tensor | None = None) -> Answer:  # noqa: ARG002 - padded steps have logits of -inf
        """Decode the most likely ordered pair of boundaries; the score is their joint probability."""
        found, log_likelihood = likeliest_ends(output.ends, 1)
        return Answer(
            spans=found[:, 0].float() if spans is None else spans,
            scores=log_likelihood[:, 0].exp(),
            boxes=_boxes(output.boxes).clamp(0, 1),
        )


def _boxes(raw: Tensor) -> Tensor:
    """Convert logits of center and size (..., 4) to xyxy boxes (..., 4)."""
    center, size = raw.sigmoid().split(2, dim=-1)
    return torch.cat([center - size / 2, center + size / 2], dim=-1)
