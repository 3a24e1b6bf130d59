"""Span boundaries as probabilities of the first and last time step; BM and GKCMN+ use them.

Letters: B samples, T time steps, K spans.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ends_log_probability(logits: Tensor, own: Tensor) -> Tensor:
    """Compute a log softmax over the valid time steps of each sample.

    Args:
        logits: float (B, T, 2), for each time step to be the first and to be the last of the span.
        own: bool (B, T), False at padded time steps.

    Returns:
        float (B, T, 2), -inf at padded time steps.
    """
    return logits.masked_fill(~own[..., None], -torch.inf).log_softmax(dim=1)


def ends_entropy(log_probability: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """Compute the cross-entropies of the true first and last time step.

    Args:
        log_probability: float (B, T, 2), the result of `ends_log_probability`.
        spans: float (B, 2), the true spans in time steps.
        lengths: int (B,), the number of time steps of each sample.

    Returns:
        float (B, 2).
    """
    ends = torch.stack([spans[:, 0].floor(), spans[:, 1].ceil() - 1], dim=1).long().clamp(min=0)
    ends = torch.minimum(ends, lengths[:, None] - 1)
    return -log_probability.gather(1, ends[:, None])[:, 0]


def likeliest_ends(log_probability: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Find the most likely pairs of a first and a last time step, with first <= last.

    Args:
        log_probability: float (B, T, 2), the result of `ends_log_probability`.
        most: the largest K; K is smaller if T x T is.

    Returns:
        spans int64 (B, K, 2) in whole time steps, and their log probabilities float (B, K) in descending order. An
        invalid pair has -inf; its span may have start >= end.
    """
    first, last = log_probability.unbind(dim=2)
    steps = first.shape[1]
    ordered = torch.ones(steps, steps, dtype=torch.bool, device=first.device).triu()
    pairs = (first[:, :, None] + last[:, None, :]).masked_fill(~ordered, -torch.inf).flatten(1)
    log_likelihood, index = pairs.topk(min(most, pairs.shape[1]), dim=1)
    return torch.stack([index // steps, index % steps + 1], dim=2), log_likelihood
