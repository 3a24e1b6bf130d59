"""Beyond the paper: the span from what is said of each step, that it lies inside, is the first, is the last.

Letters: B samples, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.boundaries import ends_entropy, ends_log_probability, likeliest_ends
from model.boxes import span_iou

HYPOTHESES = 100
"""Spans among which one is chosen: those of the likeliest first and last steps."""
ENDS_WEIGHT = 0.25
"""Of the cross-entropy of the first and of the last step, beside that of the steps inside."""


def inside_steps(spans: Tensor, steps: int) -> Tensor:
    """Whether each step's middle lies in its sample's span (B, 2): bool (B, T)."""
    middles = torch.arange(steps, device=spans.device) + 0.5
    return (middles >= spans[:, :1]) & (middles < spans[:, 1:])


def step_entropy(logits: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropy of what is said of each step.

    Args:
        logits: float (B, T, 3), of each step to lie inside, to be the first and to be the last.
        spans: float (B, 2), the true ones in steps.
        lengths: int (B,), steps of each sample.

    Returns:
        (B,): the mean over a sample's steps of the first, and a share of those of the two ends.
    """
    own = _own(logits, lengths)
    within = inside_steps(spans, logits.shape[1]).to(logits.dtype)
    inside = functional.binary_cross_entropy_with_logits(logits[..., 0], within, reduction="none")
    wrong = ends_entropy(ends_log_probability(logits[..., 1:], own), spans, lengths).sum(dim=1)
    return (inside * own.to(inside.dtype)).sum(dim=1) / lengths + ENDS_WEIGHT * wrong


def likely_spans(logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The span of whole steps whose expected tIoU is highest, by the mean of two estimates of it.

    One takes the likeliest pairs of a first and a last step for the truth, each with its probability; the other is
    E|intersection| / E|union| by the steps' probabilities to lie inside.

    Args:
        logits: float (B, T, 3), as `step_entropy` takes them.
        lengths: int (B,).

    Returns:
        spans float (B, 2) in steps, start < end, and that mean (B,) in [0, 1].
    """
    own = _own(logits, lengths)
    edges, log_likelihood = likeliest_ends(ends_log_probability(logits[..., 1:], own), HYPOTHESES)
    start, end = edges.unbind(dim=2)
    spans = edges.to(logits.dtype)
    overlap = span_iou(spans[:, :, None], spans[:, None])  # (B, chosen, true)
    by_ends = (overlap * log_likelihood.softmax(dim=1)[:, None]).sum(dim=2)

    probability = logits[..., 0].sigmoid() * own
    before = functional.pad(probability.cumsum(dim=1), (1, 0))  # (B, T + 1): expected steps inside before each edge
    common = before.gather(1, end) - before.gather(1, start)
    union = (end - start) + before[:, -1:] - common
    expected = (by_ends + common / union.clamp(min=1e-6)) / 2
    score, best = expected.masked_fill(log_likelihood.isinf(), -torch.inf).max(dim=1)
    return spans[torch.arange(len(spans), device=spans.device), best], score


def _own(logits: Tensor, lengths: Tensor) -> Tensor:
    """Which steps are a sample's own: bool (B, T)."""
    return torch.arange(logits.shape[1], device=lengths.device) < lengths[:, None]
