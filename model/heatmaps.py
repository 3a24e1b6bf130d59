"""Heatmaps: boxes to Gaussian targets (Eq. 5), cells to boxes and back.

Cell (row i, column j) of an L x L map covers [j, j + 1) x [i, i + 1) in cells and has its centre at
(j + 0.5, i + 0.5). Letters: L map side.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_centres(size: int, device: torch.device | None = None) -> Tensor:
    """Centres of all cells as (x, y): float32 (L, L, 2), in cells."""
    centres = torch.arange(size, device=device) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1)


def heatmap_targets(boxes: Tensor, *, size: int, sigma: float, single_point: bool = False) -> Tensor:
    """Gaussian heatmaps of boxes (Eq. 5).

    The centre is real-valued; the cell that holds it is 1, so that each box has a positive cell however
    narrow the Gaussian is.

    Args:
        boxes: float (..., 4), xyxy in [0, 1].
        size: L.
        sigma: in cells.
        single_point: no Gaussian, the centre's cell alone (Table 3, w/o SK).

    Returns:
        float (..., L, L) in [0, 1].
    """
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * size
    grid = cell_centres(size, boxes.device)
    squared = (grid - centre[..., None, None, :]).square().sum(dim=-1)
    heat = torch.zeros_like(squared) if single_point else torch.exp(-squared / (2 * sigma**2))
    return heat.masked_fill(_holds(centre, size), 1.0)


def _holds(centre: Tensor, size: int) -> Tensor:
    """The cell that holds each centre (..., 2) in cells: bool (..., L, L)."""
    cell = centre.floor().long().clamp(0, size - 1)
    flat = cell[..., 1] * size + cell[..., 0]
    return torch.nn.functional.one_hot(flat, size * size).bool().unflatten(-1, (size, size))


def cells_inside(boxes: Tensor, size: int) -> Tensor:
    """Cells whose centre lies in the box, or the centre's cell where none does: bool (..., L, L)."""
    scaled = boxes[..., None, None, :] * size
    grid = cell_centres(size, boxes.device)
    inside = ((grid >= scaled[..., :2]) & (grid < scaled[..., 2:])).all(dim=-1)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * size
    return torch.where(inside.any(dim=(-2, -1), keepdim=True), inside, _holds(centre, size))


def decode_boxes(distances: Tensor) -> Tensor:
    """The box that each cell predicts.

    Args:
        distances: float (..., 4, L, L): left, top, right, bottom from the cell's centre, in cells.

    Returns:
        float (..., L, L, 4), xyxy as fractions of the picture, not clamped to it.
    """
    size = distances.shape[-1]
    grid = cell_centres(size, distances.device)
    low, high = distances.movedim(-3, -1).split(2, dim=-1)
    return torch.cat([grid - low, grid + high], dim=-1) / size


def peak_boxes(heatmap_logits: Tensor, distances: Tensor) -> Tensor:
    """The box at each map's highest cell, clamped to the picture.

    Args:
        heatmap_logits: float (..., L, L).
        distances: float (..., 4, L, L).

    Returns:
        float (..., 4) xyxy in [0, 1].
    """
    index = heatmap_logits.flatten(-2).argmax(dim=-1)
    boxes = decode_boxes(distances).flatten(-3, -2)
    chosen = boxes.gather(-2, index[..., None, None].expand(*index.shape, 1, 4)).squeeze(-2)
    return chosen.clamp(0, 1)
