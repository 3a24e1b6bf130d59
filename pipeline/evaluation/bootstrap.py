"""Means with bootstrap intervals. Videos are drawn, not sentences: those of one video are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and the interval that holds 95 % of its bootstrap draws."""

    mean: float
    low: float
    high: float


def estimates(values: np.ndarray, videos: Sequence[str]) -> list[Estimate]:
    """Estimate each column's mean.

    Args:
        values: float (sample, metric); NaN where a metric is not defined, which leaves the sample out of it.
        videos: each sample's video.
    """
    defined = ~np.isnan(values)
    _, group = np.unique(np.asarray(videos), return_inverse=True)
    count = int(group.max()) + 1
    sums, counts = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
    np.add.at(sums, group, np.where(defined, values, 0))
    np.add.at(counts, group, defined)
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    with np.errstate(invalid="ignore"):  # a metric that no sample defines is NaN
        means = (drawn @ sums) / (drawn @ counts)
        whole = sums.sum(axis=0) / counts.sum(axis=0)
    tail = (1 - LEVEL) / 2
    found = []
    for metric, mean in enumerate(whole):
        draws = means[:, metric][~np.isnan(means[:, metric])]
        low, high = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (np.nan, np.nan)
        found.append(Estimate(mean=float(mean), low=float(low), high=float(high)))
    return found
