"""Score the predictions of any model against an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.index import of_split, read_index, train_samples
from pipeline.errors import PredictionError
from pipeline.evaluation.bootstrap import Estimate, estimates
from pipeline.evaluation.metrics import SampleScore, score_samples
from pipeline.evaluation.predictions import constant_prediction, read_predictions
from pipeline.evaluation.protocols import Protocol, segment_of
from pipeline.types import Prediction, Sample

THRESHOLDS = (0.3, 0.5)
CENTRE_BOX = np.array([0.25, 0.25, 0.75, 0.75])
"""A centered box of half the frame's width and height: xyxy in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Mean metrics over some of the samples."""

    samples: int
    metrics: dict[str, Estimate]
    """Estimates by the metrics' names in the literature: m_tIoU, m_vIoU, vIoU@0.3 ..."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Result of `score`."""

    protocol: Protocol
    temporal_gt: bool
    thresholds: tuple[float, ...]
    groups: dict[str, dict[str, Group]]
    """Metrics by breakdown and then by part, for example "sentence": {"declarative": ...}."""
    trivial: dict[str, Group]
    """Metrics of naive baselines, for comparison; see `trivial_rows`."""
    missing: list[str]
    """Ids of samples without a prediction; each of them scores 0."""
    samples: list[Sample]
    scores: list[SampleScore]

    @property
    def whole(self) -> Group:
        """Metrics over all samples."""
        return self.groups["all"]["all"]


def score(
    samples: Sequence[Sample],
    predictions: Mapping[str, Prediction],
    *,
    protocol: Protocol = "frames",
    temporal_gt: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
    train: Sequence[Sample] = (),
) -> Report:
    """Score predictions.

    Args:
        samples: all samples to score; a sample without a prediction scores 0.
        predictions: predictions by sample id.
        protocol: which frames are compared; see docs/protocols.md.
        temporal_gt: score only the boxes, over the true span (the paper's Table 2).
        thresholds: values of R in vIoU@R, in [0, 1].
        train: training samples, for the mean box of a naive baseline; if empty, `samples` are used.

    Raises:
        PredictionError: a prediction is for none of the samples, or the protocol needs a segment or frame rate that is
            unknown.
    """
    known = {sample.id for sample in samples}
    if strange := [name for name in predictions if name not in known]:
        raise PredictionError(
            f"{len(strange)} of {len(predictions)} predictions are for no sample of the index, first {strange[0]!r}; "
            "score them against the index and the --split that they were made for"
        )
    rows = trivial_rows(samples, train or samples)
    try:
        scores = list(
            score_samples(
                ((sample, predictions.get(sample.id)) for sample in samples), protocol, temporal_gt=temporal_gt
            )
        )
        trivial = {
            name: list(score_samples(zip(samples, row, strict=True), protocol, temporal_gt=temporal_gt))
            for name, row in rows.items()
        }
    except ValueError as error:
        raise PredictionError(f"protocol {protocol}: {error}; prepare the index with --videos") from error
    columns = _Columns(samples, temporal_gt, tuple(thresholds))
    return Report(
        protocol=protocol,
        temporal_gt=temporal_gt,
        thresholds=tuple(thresholds),
        groups={
            name: {part: columns.group(scores, rows) for part, rows in parts.items()}
            for name, parts in divisions(samples).items()
        },
        trivial={name: columns.group(row, np.arange(len(samples))) for name, row in trivial.items()},
        missing=[sample.id for sample in samples if sample.id not in predictions],
        samples=list(samples),
        scores=scores,
    )


def score_files(
    predictions: str | Path,
    index: str | Path,
    *,
    split: str | None = None,
    protocol: Protocol = "frames",
    temporal_gt: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Report:
    """Score a file of predictions from any model against an index.

    Args:
        predictions: JSON lines in the format of `pipeline.evaluation.predictions`.
        index: labeled samples, Parquet or JSON lines.
        split: score only the samples of this split; None scores all.
        protocol: which frames are compared; see docs/protocols.md.
        temporal_gt: score only the boxes, over the true span.
        thresholds: values of R in vIoU@R, in [0, 1].

    Raises:
        PredictionError: the predictions cannot be read, a prediction is for none of the samples, or the protocol needs
            a segment or frame rate that is unknown.
        AnnotationError: the index cannot be read, or has no samples of that split.
    """
    path = Path(index)
    everything = read_index(path)
    return score(
        of_split(everything, split, path),
        read_predictions(Path(predictions)),
        protocol=protocol,
        temporal_gt=temporal_gt,
        thresholds=thresholds,
        train=train_samples(everything),
    )


def metric_columns(
    scores: Sequence[SampleScore], temporal_gt: bool, thresholds: Sequence[float]
) -> dict[str, np.ndarray]:
    """Return the per-sample values of each metric; the mean of a column is the metric.

    Args:
        scores: scores of the samples.
        temporal_gt: whether `scores` are over the true span; the metrics are then gt_vIoU, without tIoU.
        thresholds: values of R in vIoU@R.

    Returns:
        float (sample,) by the metrics' names in the literature; NaN where a metric is undefined.
    """
    name = "gt_vIoU" if temporal_gt else "vIoU"
    overlaps = np.array([score.viou for score in scores])
    columns = {} if temporal_gt else {"m_tIoU": np.array([score.tiou for score in scores])}
    columns[f"m_{name}"] = overlaps
    for threshold in thresholds:
        columns[f"{name}@{threshold:g}"] = np.where(np.isnan(overlaps), np.nan, overlaps > threshold)
    return columns


class _Columns:
    """Converts scores into the metrics of one report."""

    def __init__(self, samples: Sequence[Sample], temporal_gt: bool, thresholds: tuple[float, ...]) -> None:
        self._videos = np.array([sample.video for sample in samples])
        self._temporal_gt = temporal_gt
        self._thresholds = thresholds

    def group(self, scores: Sequence[SampleScore], rows: np.ndarray) -> Group:
        """Estimate the metrics over the samples with the indices `rows`: int (n,)."""
        columns = metric_columns([scores[row] for row in rows], self._temporal_gt, self._thresholds)
        found = estimates(np.stack(list(columns.values()), axis=1), self._videos[rows].tolist())
        return Group(samples=len(rows), metrics=dict(zip(columns, found, strict=True)))


def trivial_rows(samples: Sequence[Sample], train: Sequence[Sample]) -> dict[str, list[Prediction]]:
    """Return the predictions of naive baselines: the whole segment with a centered box or with the mean box.

    Args:
        samples: the samples to predict.
        train: samples whose boxes are averaged, relative to the frame size.

    Returns:
        One prediction per sample, by the baseline's name; empty if a sample's frame size or segment is unknown.
    """
    if any(sample.size is None or (sample.segment is None and sample.frame_count is None) for sample in samples):
        return {}
    rows = {"segment, centre box": CENTRE_BOX}
    means = [
        np.nanmean(sample.boxes, axis=0) / (sample.size * 2)
        for sample in train
        if sample.size is not None and sample.labelled.any()
    ]
    if means:
        rows["segment, mean box"] = np.mean(means, axis=0)
    return {
        name: [
            constant_prediction(sample, segment_of(sample), box * ((sample.size or (1, 1)) * 2)) for sample in samples
        ]
        for name, box in rows.items()
    }


def divisions(samples: Sequence[Sample]) -> dict[str, dict[str, np.ndarray]]:
    """Return the indices of samples, int (n,), by breakdown and then by part; empty parts are left out."""
    frames = [sample.span[1] - sample.span[0] for sample in samples]
    words = [len(sample.query.split()) for sample in samples]
    found = {
        "all": {"all": np.arange(len(samples))},
        "sentence": {
            kind: np.flatnonzero([sample.kind == kind for sample in samples])
            for kind in ("declarative", "interrogative")
        },
        "span length": _parts(frames, (64, 256), ("span under 64", "span 64 to 255", "span from 256")),
        "box area": _parts(
            [_box_percent(sample) for sample in samples], (5, 20), ("box under 5 %", "box 5 to 20 %", "box over 20 %")
        ),
        "sentence length": _parts(words, (8, 12), ("under 8 words", "8 to 11 words", "from 12 words")),
    }
    return {name: {part: rows for part, rows in parts.items() if len(rows)} for name, parts in found.items()}


def _box_percent(sample: Sample) -> float:
    """Return the area of the average true box in percent of the frame; NaN if the size or the boxes are unknown."""
    if sample.size is None or not sample.labelled.any():
        return float("nan")
    sides = np.nanmean(sample.boxes[:, 2:] - sample.boxes[:, :2], axis=0) / sample.size
    return 100 * float(sides.prod())


def _parts(values: Sequence[float], bounds: tuple[int, int], names: tuple[str, str, str]) -> dict[str, np.ndarray]:
    """Return the indices of values below, between and from the bounds; NaN values are in none of the parts."""
    low, high = bounds
    array = np.array(values, float)
    below, between, above = names
    return {
        below: np.flatnonzero(array < low),
        between: np.flatnonzero((array >= low) & (array < high)),
        above: np.flatnonzero(array >= high),
    }
