"""Proposals: windows of fixed widths centered at each time step, and the selection of the best one.

Letters: B samples, T time steps, K widths.
"""

from __future__ import annotations

import torch
from torch import Tensor


def candidate_spans(lengths: Tensor, steps: int, widths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Compute all proposals of a batch.

    At time step t the window of width w is [t + 0.5 - w/2, t + 0.5 + w/2], clipped to the sample. A sample uses the
    widths up to the first one that covers it; wider windows would be duplicates.

    Args:
        lengths: int (B,), the number of time steps of each sample.
        steps: T.
        widths: K widths in time steps, ascending.

    Returns:
        spans float32 (B, T, K, 2) in time steps, and their validity bool (B, T, K).
    """
    centres = torch.arange(steps, device=lengths.device)[:, None] + 0.5
    width = torch.tensor(widths, device=lengths.device, dtype=torch.float32)
    windows = torch.stack([centres - width / 2, centres + width / 2], dim=-1)
    limit = lengths[:, None, None, None].float()
    spans = torch.minimum(windows.clamp(min=0)[None], limit)
    narrower = torch.tensor((0, *widths[:-1]), device=lengths.device)
    own = torch.arange(steps, device=lengths.device)[None, :, None] < lengths[:, None, None]
    return spans, own & (narrower < lengths[:, None])[:, None, :]


def best_spans(
    score_logits: Tensor, offsets: Tensor, lengths: Tensor, widths: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Select the proposal with the highest score, shift it by its offsets and clip it to the sample.

    Args:
        score_logits: float (B, T, K).
        offsets: float (B, T, K, 2), in time steps.
        lengths: int (B,), the number of time steps of each sample.
        widths: K widths in time steps, ascending.

    Returns:
        spans float (B, 2) in time steps, start < end, and their scores float (B,) in [0, 1].
    """
    spans, valid = candidate_spans(lengths, score_logits.shape[1], widths)
    score, index = score_logits.masked_fill(~valid, -torch.inf).flatten(1).max(dim=1)
    moved = (spans + offsets).flatten(1, 2)
    chosen = moved[torch.arange(len(moved), device=moved.device), index]
    original = spans.flatten(1, 2)[torch.arange(len(moved), device=moved.device), index]
    clamped = torch.minimum(chosen.clamp(min=0), lengths[:, None].to(chosen.dtype))
    # Offsets may move the start behind the end; then keep the proposal itself, which is never empty.
    crossed = clamped[:, :1] >= clamped[:, 1:]
    return torch.where(crossed, original, clamped), score.sigmoid()
