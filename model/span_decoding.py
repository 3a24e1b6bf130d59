"""Span decoding of GKCMN+ from the inside, start and end probabilities of the time steps.

Letters: B samples, T time steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.boundaries import ends_entropy, ends_log_probability, likeliest_ends
from model.boxes import span_iou

HYPOTHESES = 100
"""Number of candidate spans: those with the most likely boundaries."""
ENDS_WEIGHT = 0.25
"""Weight of the cross-entropies of the boundaries; the cross-entropy of the inside probabilities has weight 1."""


def inside_steps(spans: Tensor, steps: int) -> Tensor:
    """Mark the time steps whose midpoint is inside the span.

    Args:
        spans: float (B, 2), in time steps.
        steps: T.

    Returns:
        bool (B, T).
    """
    middles = torch.arange(steps, device=spans.device) + 0.5
    return (middles >= spans[:, :1]) & (middles < spans[:, 1:])


def step_entropy(logits: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """Compute the cross-entropy of the inside, start and end predictions.

    Args:
        logits: float (B, T, 3), for each time step to be inside the span, the first and the last.
        spans: float (B, 2), the true spans in time steps.
        lengths: int (B,), the number of time steps of each sample.

    Returns:
        float (B,): the inside cross-entropy, averaged over the sample's time steps, plus ENDS_WEIGHT times the sum of
        the boundary cross-entropies.
    """
    own = _own(logits, lengths)
    within = inside_steps(spans, logits.shape[1]).to(logits.dtype)
    inside = functional.binary_cross_entropy_with_logits(logits[..., 0], within, reduction="none")
    wrong = ends_entropy(ends_log_probability(logits[..., 1:], own), spans, lengths).sum(dim=1)
    return (inside * own.to(inside.dtype)).sum(dim=1) / lengths + ENDS_WEIGHT * wrong


def likely_spans(logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Select the span of whole time steps with the highest expected tIoU.

    The expected tIoU is the mean of two estimates. The first averages the tIoU with the most likely pairs of
    boundaries, weighted by their probabilities. The second is E|intersection| / E|union|, computed from the inside
    probabilities.

    Args:
        logits: float (B, T, 3), as in `step_entropy`.
        lengths: int (B,), the number of time steps of each sample.

    Returns:
        spans float (B, 2) in time steps, start < end, and their expected tIoU float (B,) in [0, 1].
    """
    own = _own(logits, lengths)
    edges, log_likelihood = likeliest_ends(ends_log_probability(logits[..., 1:], own), HYPOTHESES)
    start, end = edges.unbind(dim=2)
    spans = edges.to(logits.dtype)
    overlap = span_iou(spans[:, :, None], spans[:, None])  # (B, chosen, true)
    by_ends = (overlap * log_likelihood.softmax(dim=1)[:, None]).sum(dim=2)

    probability = logits[..., 0].sigmoid() * own
    before = functional.pad(probability.cumsum(dim=1), (1, 0))  # (B, T + 1): expected number inside before t
    common = before.gather(1, end) - before.gather(1, start)
    union = (end - start) + before[:, -1:] - common
    expected = (by_ends + common / union.clamp(min=1e-6)) / 2
    score, best = expected.masked_fill(log_likelihood.isinf(), -torch.inf).max(dim=1)
    return spans[torch.arange(len(spans), device=spans.device), best], score


def _own(logits: Tensor, lengths: Tensor) -> Tensor:
    """Mark the time steps that are not padding: bool (B, T)."""
    return torch.arange(logits.shape[1], device=lengths.device) < lengths[:, None]
