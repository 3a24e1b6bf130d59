"""Heatmaps: Gaussian targets of boxes (Eq. 5), and boxes decoded from cells.

Cell (row i, column j) of an L x L map covers [j, j + 1) x [i, i + 1) in cells; its center is (j + 0.5, i + 0.5).
Letters: L map side.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_centres(size: int, device: torch.device | None = None) -> Tensor:
    """Return the centers (x, y) of all cells: float32 (L, L, 2), in cells."""
    centres = torch.arange(size, device=device) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1)


def heatmap_targets(boxes: Tensor, *, size: int, sigma: float, single_point: bool = False) -> Tensor:
    """Compute the Gaussian heatmaps of boxes (Eq. 5).

    The center is real-valued. The cell that contains it is set to 1, so that each box has a positive cell even if
    the Gaussian is narrow.

    Args:
        boxes: float (..., 4), xyxy in [0, 1].
        size: L.
        sigma: standard deviation of the Gaussian, in cells.
        single_point: set only the center's cell, without a Gaussian (Table 3, w/o SK).

    Returns:
        float (..., L, L) in [0, 1].
    """
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * size
    grid = cell_centres(size, boxes.device)
    squared = (grid - centre[..., None, None, :]).square().sum(dim=-1)
    heat = torch.zeros_like(squared) if single_point else torch.exp(-squared / (2 * sigma**2))
    return heat.masked_fill(_holds(centre, size), 1.0)


def _holds(centre: Tensor, size: int) -> Tensor:
    """Mark the cell that contains each center (..., 2), in cells: bool (..., L, L)."""
    cell = centre.floor().long().clamp(0, size - 1)
    flat = cell[..., 1] * size + cell[..., 0]
    return torch.nn.functional.one_hot(flat, size * size).bool().unflatten(-1, (size, size))


def cells_inside(boxes: Tensor, size: int) -> Tensor:
    """Mark the cells whose center is inside the box, or the cell of the box's center if there are none.

    Args:
        boxes: float (..., 4), xyxy in [0, 1].
        size: L.

    Returns:
        bool (..., L, L).
    """
    scaled = boxes[..., None, None, :] * size
    grid = cell_centres(size, boxes.device)
    inside = ((grid >= scaled[..., :2]) & (grid < scaled[..., 2:])).all(dim=-1)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * size
    return torch.where(inside.any(dim=(-2, -1), keepdim=True), inside, _holds(centre, size))


def decode_boxes(distances: Tensor) -> Tensor:
    """Decode the box that each cell predicts.

    Args:
        distances: float (..., 4, L, L): left, top, right, bottom from the cell's center, in cells.

    Returns:
        float (..., L, L, 4), xyxy as fractions of the frame, not clamped to [0, 1].
    """
    size = distances.shape[-1]
    grid = cell_centres(size, distances.device)
    low, high = distances.movedim(-3, -1).split(2, dim=-1)
    return torch.cat([grid - low, grid + high], dim=-1) / size


def peak_boxes(heatmap_logits: Tensor, distances: Tensor) -> Tensor:
    """Decode the box at the highest cell of each map, clamped to the frame.

    Args:
        heatmap_logits: float (..., L, L).
        distances: float (..., 4, L, L), in cells.

    Returns:
        float (..., 4) xyxy in [0, 1].
    """
    index = heatmap_logits.flatten(-2).argmax(dim=-1)
    boxes = decode_boxes(distances).flatten(-3, -2)
    chosen = boxes.gather(-2, index[..., None, None].expand(*index.shape, 1, 4)).squeeze(-2)
    return chosen.clamp(0, 1)
