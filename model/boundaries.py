"""Spans by their first and their last step, of which BM and GKCMN+ say how likely each step is.

Letters: B samples, T steps, K spans.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ends_log_probability(logits: Tensor, own: Tensor) -> Tensor:
    """Over a sample's steps, of the logits float (B, T, 2): (B, T, 2); -inf beyond it, where `own` (B, T) is False."""
    return logits.masked_fill(~own[..., None], -torch.inf).log_softmax(dim=1)


def ends_entropy(log_probability: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropies of the true first and last step.

    Args:
        log_probability: float (B, T, 2), of each step to be the first and to be the last: `ends_log_probability`.
        spans: float (B, 2), the true ones in steps.
        lengths: int (B,), steps of each sample.

    Returns:
        (B, 2).
    """
    ends = torch.stack([spans[:, 0].floor(), spans[:, 1].ceil() - 1], dim=1).long().clamp(min=0)
    ends = torch.minimum(ends, lengths[:, None] - 1)
    return -log_probability.gather(1, ends[:, None])[:, 0]


def likeliest_ends(log_probability: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The likeliest pairs of a first step and a last one that is not before it.

    Args:
        log_probability: float (B, T, 2), as `ends_entropy` takes it.
        most: K, of which there are fewer where T is small.

    Returns:
        spans of whole steps int64 (B, K, 2), start < end where it is possible, and their log probabilities (B, K),
        falling, -inf where it is not.
    """
    first, last = log_probability.unbind(dim=2)
    steps = first.shape[1]
    ordered = torch.ones(steps, steps, dtype=torch.bool, device=first.device).triu()
    pairs = (first[:, :, None] + last[:, None, :]).masked_fill(~ordered, -torch.inf).flatten(1)
    log_likelihood, index = pairs.topk(min(most, pairs.shape[1]), dim=1)
    return torch.stack([index // steps, index % steps + 1], dim=2), log_likelihood
