"""m_tIoU, m_vIoU and vIoU@R, over every frame, with half-open ends.

tIoU = |S_I| / |S_U|, the frames of both spans over those of either. vIoU = the sum of box IoU over S_I,
divided by |S_U|. Frames of the true span without a box count in tIoU alone: nothing can be compared there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from model.boxes import box_iou
from pipeline.types import Sample, Tube

THRESHOLDS = (0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class SampleScore:
    """One prediction's agreement with the truth, in [0, 1]."""

    tiou: float
    viou: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Means over samples, in [0, 1]."""

    samples: int
    m_tiou: float
    m_viou: float
    viou_at: dict[str, float]
    """Share of samples whose vIoU exceeds R, by R."""

    def rows(self) -> dict[str, float]:
        """Names as papers print them."""
        return {
            "m_tIoU": self.m_tiou,
            "m_vIoU": self.m_viou,
            **{f"vIoU@{threshold}": share for threshold, share in self.viou_at.items()},
        }

    def values(self) -> dict[str, object]:
        """As JSON knows them."""
        return asdict(self)


def score_sample(tube: Tube, sample: Sample) -> SampleScore:
    """Compare a predicted tube with a sample's true one."""
    (a, b), (c, d) = tube.span, sample.span
    shared = range(max(a, c), min(b, d))
    intersection = len(shared)
    union = (b - a) + (d - c) - intersection
    unlabelled = np.isnan(sample.boxes[:, 0])
    overlap = 0.0
    if intersection:
        predicted = tube.boxes[shared.start - a : shared.stop - a]
        truth = sample.boxes[shared.start - c : shared.stop - c]
        labelled = ~np.isnan(truth[:, 0])
        overlap = float(
            box_iou(torch.from_numpy(predicted[labelled]).double(), torch.from_numpy(truth[labelled]).double()).sum()
        )
    return SampleScore(tiou=intersection / union, viou=overlap / (union - int(unlabelled.sum())))


def mean_scores(scores: Sequence[SampleScore]) -> Scores:
    """Means of at least one sample's scores."""
    viou = np.array([score.viou for score in scores])
    return Scores(
        samples=len(scores),
        m_tiou=float(np.mean([score.tiou for score in scores])),
        m_viou=float(viou.mean()),
        viou_at={str(threshold): float((viou > threshold).mean()) for threshold in THRESHOLDS},
    )
