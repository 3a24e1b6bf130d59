"""Overlaps of boxes and of spans.

Boxes are xyxy and spans are (start, end); both are half-open. Any unit works if both arguments use the same one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the IoU of boxes (..., 4) and boxes (..., 4) with broadcasting.

    Returns:
        float (...,) in [0, 1]; 0 if both boxes are empty.
    """
    intersection, union, _ = _overlap(a, b)
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def box_giou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the generalized IoU of boxes (..., 4) and boxes (..., 4) with broadcasting.

    At least one box of each pair must not be empty.

    Returns:
        float (...,) in [-1, 1].
    """
    intersection, union, hull = _overlap(a, b)
    tiny = torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def span_iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the IoU of spans (..., 2) and spans (..., 2) with broadcasting.

    Returns:
        float (...,) in [0, 1]; 0 if both spans are empty.
    """
    intersection = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]).clamp(min=0) + (b[..., 1] - b[..., 0]).clamp(min=0) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the areas of the intersection, the union and the smallest enclosing box."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    intersection = inner.prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (a, b)]
    return intersection, areas[0] + areas[1] - intersection, outer.prod(dim=-1)
