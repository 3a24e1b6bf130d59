"""Boxes and spans: the one place where overlaps are computed.

Boxes are xyxy, spans (start, end), both half-open; any unit, as long as it is one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (..., 4) with boxes (..., 4), broadcast: (...,) in [0, 1]; 0 where both are empty."""
    intersection, union, _ = _overlap(a, b)
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def box_giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes (..., 4), broadcast: (...,) in [-1, 1]. At least one must not be empty."""
    intersection, union, hull = _overlap(a, b)
    tiny = torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def span_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of spans (..., 2), broadcast: (...,) in [0, 1]; 0 where both are empty."""
    intersection = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]).clamp(min=0) + (b[..., 1] - b[..., 0]).clamp(min=0) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas of the intersection, the union and the smallest box around both."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    intersection = inner.prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (a, b)]
    return intersection, areas[0] + areas[1] - intersection, outer.prod(dim=-1)
