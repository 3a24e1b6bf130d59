"""tIoU and vIoU of tubes.

tIoU = |S_I| / |S_U|, the frames of both spans over those of either. vIoU = the sum of box IoU over S_I, divided by
|S_U|. A frame of S_I without a true box counts with the mean IoU of those that have one, so that what is not
labelled neither helps nor harms, a perfect tube scores 1, and vIoU never exceeds tIoU where every frame counts.

gt_vIoU (the paper's Table 2) is vIoU with the true span in place of the predicted one: the mean box IoU over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from model.boxes import box_iou, span_iou
from pipeline.data.time_axis import interpolate_boxes
from pipeline.evaluation.protocols import Protocol, compare_spans
from pipeline.types import Prediction, Sample

BATCH = 1024
"""Samples whose boxes are compared in one go."""


@dataclass(frozen=True, kw_only=True)
class SampleScore:
    """One prediction's agreement with the truth, in [0, 1]."""

    tiou: float
    viou: float
    """NaN where the truth has no boxes; gt_vIoU if that was asked for."""


def score_samples(
    pairs: Iterable[tuple[Sample, Prediction | None]], protocol: Protocol = "frames", *, temporal_gt: bool = False
) -> Iterator[SampleScore]:
    """Compare predictions with their samples' true tubes; None scores 0.

    Args:
        pairs: samples, each with what was predicted for it.
        protocol: which frames are compared.
        temporal_gt: take the true span in place of the predicted one.

    Raises:
        ValueError: the protocol needs what a sample does not know.
    """
    pairs = iter(pairs)
    while batch := list(islice(pairs, BATCH)):
        yield from _score_batch(batch, protocol, temporal_gt)


def _score_batch(
    pairs: list[tuple[Sample, Prediction | None]], protocol: Protocol, temporal_gt: bool
) -> list[SampleScore]:
    spans = np.zeros((len(pairs), 2, 2))
    shares, predicted, true = np.zeros(len(pairs)), [], []
    for row, (sample, prediction) in enumerate(pairs):
        if prediction is None:
            predicted.append(_NO_BOXES)
            true.append(_NO_BOXES)
            continue
        compared = compare_spans(sample, sample.span if temporal_gt else prediction.span, protocol)
        spans[row] = compared.true, compared.predicted
        shares[row] = len(compared.shared) / max(1, len(compared.union))
        rows = compared.shared - sample.span[0]
        rows = rows[sample.labelled[rows]] if len(prediction.boxes) else rows[:0]
        predicted.append(prediction_boxes(prediction, rows + sample.span[0]))
        true.append(sample.boxes[rows])
    counts = [len(part) for part in true]
    ious = box_iou(*(torch.from_numpy(np.concatenate(part)).double() for part in (predicted, true))).numpy()
    sums = np.bincount(np.repeat(np.arange(len(pairs)), counts), weights=ious, minlength=len(pairs))
    vious = shares * sums / np.maximum(1, counts)
    vious[[not sample.labelled.any() for sample, _ in pairs]] = np.nan
    tious = span_iou(torch.from_numpy(spans[:, 0]), torch.from_numpy(spans[:, 1]))
    return [SampleScore(tiou=tiou, viou=viou) for tiou, viou in zip(tious.tolist(), vious.tolist(), strict=True)]


def prediction_boxes(prediction: Prediction, frames: np.ndarray) -> np.ndarray:
    """Predicted boxes at frames: float32 (len(frames), 4), linear between those given, the nearest beyond."""
    if len(frames) == 0:
        return _NO_BOXES
    return interpolate_boxes(frames, prediction.frames, prediction.boxes)


_NO_BOXES = np.empty((0, 4), np.float32)
