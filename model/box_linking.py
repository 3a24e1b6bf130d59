"""Boxes of a whole span at once: the path through its heatmaps that is likely and does not jump.

Letters: B samples, T steps, K peaks of a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.boxes import box_iou
from model.heatmaps import decode_boxes
from model.span_decoding import inside_steps

PEAKS = 12
"""Cells of a step that a path may take."""
BESIDE = 20.0
"""Taken from the logit of a cell that is no peak."""
ROUNDING = 0.25
"""Steps."""
JUMP = 2.0
"""Loss of log probability from one box to the next where they do not overlap at all."""


def path_boxes(heatmap_logits: Tensor, distances: Tensor, spans: Tensor) -> Tensor:
    """The boxes on the best path through each span; steps outside weigh nothing.

    A path's worth is the sum of its cells' log probabilities, less JUMP times 1 - IoU of each two boxes in a row
    (Viterbi's algorithm).

    Args:
        heatmap_logits: float (B, T, L, L).
        distances: float (B, T, 4, L, L), in cells.
        spans: float (B, 2), in steps.

    Returns:
        float (B, T, 4), xyxy in [0, 1].
    """
    # Cells around a peak would fill the menu: another object's peak must stand on it too.
    top = functional.max_pool2d(heatmap_logits, 3, stride=1, padding=1)
    peaks = heatmap_logits.where(heatmap_logits == top, heatmap_logits - BESIDE)
    logits, cells = peaks.flatten(-2).topk(PEAKS, dim=-1)
    boxes = decode_boxes(distances).flatten(-3, -2).gather(-2, cells[..., None].expand(*cells.shape, 4)).clamp(0, 1)
    # A little wider than the span: decoding rounds it to frames, which may take in one step more.
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
