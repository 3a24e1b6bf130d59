"""tIoU and vIoU of tubes.

S_I is the set of frames in both the true and the predicted span, S_U the set of frames in either.
tIoU = |S_I| / |S_U|. vIoU = the sum of the box IoU over S_I, divided by |S_U|. A frame of S_I without a true box counts
with the mean IoU of the frames that have one. Unlabeled frames then neither raise nor lower the score, a perfect tube
scores 1, and vIoU never exceeds tIoU if the protocol compares every frame.

gt_vIoU (the paper's Table 2) is vIoU with the true span in place of the predicted one: the mean box IoU over that span.
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
"""Number of samples whose boxes are compared at once."""


@dataclass(frozen=True, kw_only=True)
class SampleScore:
    """Scores of one prediction, in [0, 1]."""

    tiou: float
    viou: float
    """vIoU, or gt_vIoU with `temporal_gt`; NaN if the sample has no box."""


def score_samples(
    pairs: Iterable[tuple[Sample, Prediction | None]], protocol: Protocol = "frames", *, temporal_gt: bool = False
) -> Iterator[SampleScore]:
    """Yield the scores of each prediction.

    Args:
        pairs: samples, each with its prediction; None is a missing prediction and scores 0.
        protocol: which frames are compared; see docs/protocols.md.
        temporal_gt: use the true span in place of the predicted one.

    Raises:
        ValueError: the protocol needs the segment or the frame rate, and a sample does not have it.
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
    """Return the predicted boxes at some frames, linearly interpolated between keyframes.

    Args:
        prediction: a prediction with at least one box, unless `frames` is empty.
        frames: int (n,), frame numbers; those before the first or after the last keyframe get the nearest box.

    Returns:
        float32 (n, 4), xyxy in source pixels.
    """
    if len(frames) == 0:
        return _NO_BOXES
    return interpolate_boxes(frames, prediction.frames, prediction.boxes)


_NO_BOXES = np.empty((0, 4), np.float32)
