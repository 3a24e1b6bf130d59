"""BM, the paper's anchor-free baseline: no mixed network, no location heads.

F_f2 is averaged over the picture; from that sequence an MLP regresses one box a step, and a BiGRU says at which step
the span starts and at which it ends.

Letters: B samples, F channels (D'), T steps, D sentence width.
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
"""Of the losses by name: L1 of a box's sides, its 1 - GIoU, the cross-entropies of the first and of the last step."""


@dataclass(frozen=True, kw_only=True)
class BaselineOutput:
    """Raw predictions."""

    boxes: Tensor
    """float32 (B, T, 4): centre and size before the sigmoid that brings them to [0, 1]."""
    ends: Tensor
    """float32 (B, T, 2): log probabilities of a step to be the first, and the last, of the span; -inf beyond the
    sample."""


class Baseline(Grounder[BaselineOutput]):
    """The network of BM."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width = config.fused_width
        self.video = VideoEncoder(config)
        self.sentence = SentenceEncoder(config)
        self.interaction = CrossModalInteraction(config)
        self.box = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
        self.gru = BiGru(width, width // 2)
        self.ends = MaskedConv1d(width, 2)

    def forward(self, inputs: ModelInput, located: Tensor | None = None) -> BaselineOutput:  # noqa: ARG002 - all are cheap
        states, sentence = self.sentence(inputs.words, inputs.word_mask)
        fused = self.interaction(self.video(inputs.features), inputs.video, states, inputs.word_mask, sentence)
        sequence = fused.mean(dim=(-2, -1)).transpose(1, 2)
        ends = self.ends(self.gru(sequence, inputs.step_mask)[0], inputs.step_mask)
        return BaselineOutput(boxes=self.box(sequence), ends=ends_log_probability(ends, inputs.step_mask))

    def losses(self, output: BaselineOutput, inputs: ModelInput, target: ModelTarget) -> Losses:
        """L1 of the boxes, summed over their sides, 1 - GIoU, and the cross-entropies of start and end."""
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

    def answer(self, output: BaselineOutput, lengths: Tensor, spans: Tensor | None = None) -> Answer:  # noqa: ARG002 - the ends know
        """The likeliest start and end in that order, with their joint probability as the score."""
        found, log_likelihood = likeliest_ends(output.ends, 1)
        return Answer(
            spans=found[:, 0].float() if spans is None else spans,
            scores=log_likelihood[:, 0].exp(),
            boxes=_boxes(output.boxes).clamp(0, 1),
        )


def _boxes(raw: Tensor) -> Tensor:
    """Centre and size before the sigmoid (..., 4), as xyxy."""
    centre, size = raw.sigmoid().split(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)
