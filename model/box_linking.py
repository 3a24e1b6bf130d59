"""Box linking for GKCMN+: choose the boxes of a span jointly, by likelihood and smoothness.

Letters: B samples, T time steps, K peaks per time step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.boxes import box_iou
from model.heatmaps import decode_boxes
from model.span_decoding import inside_steps

PEAKS = 12
"""Number of candidate cells per time step."""
BESIDE = 20.0
"""Penalty subtracted from the logit of a cell that is not a local maximum."""
ROUNDING = 0.25
"""Margin in time steps by which the span is widened at both ends."""
JUMP = 2.0
"""Penalty in log probability for two consecutive boxes that do not overlap."""


def path_boxes(heatmap_logits: Tensor, distances: Tensor, spans: Tensor) -> Tensor:
    """Find the best sequence of boxes in each span with the Viterbi algorithm.

    The score of a sequence is the sum of the log probabilities of its cells, minus JUMP * (1 - IoU) for each pair of
    consecutive boxes. Time steps outside the span do not contribute.

    Args:
        heatmap_logits: float (B, T, L, L).
        distances: float (B, T, 4, L, L): left, top, right, bottom, in cells.
        spans: float (B, 2), in time steps.

    Returns:
        float (B, T, 4), xyxy in [0, 1].
    """
    # Suppress cells that are not peaks (3x3 NMS), so that the top K cells cover several objects.
    top = functional.max_pool2d(heatmap_logits, 3, stride=1, padding=1)
    peaks = heatmap_logits.where(heatmap_logits == top, heatmap_logits - BESIDE)
    logits, cells = peaks.flatten(-2).topk(PEAKS, dim=-1)  # (B, T, K)  # (B, T, K)
    boxes = decode_boxes(distances).flatten(-3, -2).gather(-2, cells[..., None].expand(*cells.shape, 4)).clamp(0, 1)
    # Widen the span slightly: decoding rounds it to frames, which may add a time step.
    inside = inside_steps(spans + spans.new_tensor([-ROUNDING, ROUNDING]), logits.shape[1])
    worth = functional.logsigmoid(logits) * inside[..., None]
    jumps = (1 - box_iou(boxes[:, :-1, :, None], boxes[:, 1:, None])) * JUMP  # (B, T - 1, K from, K to)
    jumps = jumps * (inside[:, :-1] & inside[:, 1:])[..., None, None]
    total, origins = worth[:, 0], []
    for step in range(1, worth.shape[1]):
        best, origin = (total[..., None] - jumps[:, step - 1]).max(dim=1)
        total = best + worth[:, step]
        origins.append(origin)
    peak = total.argmax(dim=-1)
    path = [peak]
    for origin in reversed(origins):
        peak = origin.gather(-1, peak[:, None])[:, 0]
        path.append(peak)
    chosen = torch.stack(path[::-1], dim=1)[..., None, None].expand(-1, -1, 1, 4)
    return boxes.gather(2, chosen)[:, :, 0]
