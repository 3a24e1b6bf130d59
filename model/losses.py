"""The four losses of GKCMN and their weighted sum (Eq. 6-10).

Letters: B samples, T time steps, L heatmap side, K proposal widths.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.base import Losses, weighted
from model.boxes import box_giou, span_iou
from model.config import ModelConfig
from model.heatmaps import cells_inside, decode_boxes, heatmap_targets
from model.inputs import ModelInput, ModelOutput, ModelTarget
from model.proposals import candidate_spans
from model.span_decoding import step_entropy

PARTS = ("location", "size", "confidence", "boundary")
"""Names of the four losses, in the order of `ModelConfig.loss_weights`."""
GAZE_WEIGHT = 0.3
"""Weight of the pooling term in the location loss: the negative log of the pooling weight inside the true box."""
NEAR_BEST = 0.9
"""With `offset_gate` "near_best", the smallest IoU, as a fraction of the best proposal's, at which offsets are
trained."""


def gkcmn_losses(output: ModelOutput, inputs: ModelInput, target: ModelTarget, config: ModelConfig) -> Losses:
    """Compute location (Eq. 6), size (Eq. 7), confidence (Eq. 8) and boundary (Eq. 9) losses and their sum (Eq. 10).

    GKCMN+ adds the loss of the attention pooling to location, and the loss of the time step logits to confidence.

    Args:
        output: the raw predictions.
        inputs: the batch that they belong to.
        target: the true boxes and spans.
        config: the model's configuration.
    """
    lengths = inputs.step_mask.sum(dim=1)
    parts = (*spatial_losses(output, target, config), *temporal_losses(output, lengths, target, config))
    return weighted(
        dict(zip(PARTS, parts, strict=True)),
        dict(zip(PARTS, config.loss_weights, strict=True)),
    )


def spatial_losses(output: ModelOutput, target: ModelTarget, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Compute point localization (Eq. 6) and size regression (Eq. 7) over annotated time steps: float (B,) each."""
    heat = heatmap_targets(
        target.boxes,
        size=config.heatmap_size,
        sigma=config.sigma,
        single_point=config.ablation == "single_point",
    )
    cells = focal_terms(output.heatmap_logits, heat, config)  # (B, T, L, L)
    steps = target.box_mask.to(cells.dtype)
    annotated = steps.sum(dim=1).clamp(min=1)  # M_foc
    location = (cells.sum(dim=(-2, -1)) * steps).sum(dim=1) / annotated
    if config.temporal_pooling == "attention":
        there = cells_inside(target.boxes, 7).flatten(-2)
        missed = -output.gaze.masked_fill(~there, -torch.inf).logsumexp(dim=-1)
        location = location + GAZE_WEIGHT * (missed * steps).sum(dim=1) / annotated

    inside = cells_inside(target.boxes, config.heatmap_size) & target.box_mask[..., None, None]
    giou = box_giou(decode_boxes(output.distances), target.boxes[..., None, None, :])  # (B, T, L, L)
    weights = inside.to(giou.dtype)
    samples = weights.sum(dim=(1, 2, 3)).clamp(min=1)  # M_iou
    return location, ((1 - giou) * weights).sum(dim=(1, 2, 3)) / samples


def focal_terms(logits: Tensor, heat: Tensor, config: ModelConfig) -> Tensor:
    """Compute the negated terms of Eq. 6.

    Args:
        logits: float (...), predicted heatmap logits. Logits instead of probabilities avoid log(0).
        heat: float (...), target heatmaps in [0, 1].
        config: provides alpha, beta and gamma.

    Returns:
        float (...), not negative.
    """
    probability = logits.sigmoid()
    positive = (1 - probability).pow(config.focal_alpha) * -functional.logsigmoid(logits)
    negative = (1 - heat).pow(config.focal_beta) * probability.pow(config.focal_alpha) * -functional.logsigmoid(-logits)
    return torch.where(heat > config.focal_gamma, positive, negative)


def temporal_losses(
    output: ModelOutput, lengths: Tensor, target: ModelTarget, config: ModelConfig
) -> tuple[Tensor, Tensor]:
    """Compute confidence (Eq. 8) over all proposals and boundary regression (Eq. 9) over those with a high IoU.

    Args:
        output: the raw predictions.
        lengths: int (B,), the number of time steps of each sample.
        target: the true boxes and spans.
        config: the model's configuration.

    Returns:
        two tensors, float (B,) each.
    """
    spans, valid = candidate_spans(lengths, output.score_logits.shape[1], config.candidate_widths)
    truth = target.span[:, None, None, :]
    iou = span_iou(spans, truth)  # (B, T, K)
    selectable = valid & (iou >= config.confidence_threshold)
    wanted = torch.where(selectable, iou, 0.0)
    confidence = functional.smooth_l1_loss(output.score_logits.sigmoid(), wanted, reduction="none")
    gate = selectable
    if config.offset_gate == "near_best":
        gate = selectable & (iou >= NEAR_BEST * torch.where(valid, iou, 0.0).amax(dim=(1, 2), keepdim=True))
    boundary = functional.smooth_l1_loss(output.offsets, truth - spans, reduction="none").mean(dim=-1)
    if config.span_choice == "steps":
        step = step_entropy(output.step_logits, target.span, lengths)
    else:
        step = torch.zeros_like(target.span[:, 0])
    # N_c counts the proposals that could be selected, in Eq. 8 as in Eq. 9.
    scored, taught = (mask.sum(dim=(1, 2)).clamp(min=1) for mask in (selectable, gate))
    return _sum_where(confidence, valid) / scored + step, _sum_where(boundary, gate) / taught


def _sum_where(values: Tensor, mask: Tensor) -> Tensor:
    """Sum values (B, T, K) where the mask (B, T, K) is True, for each sample: (B,)."""
    return (values * mask.to(values.dtype)).sum(dim=(1, 2))
