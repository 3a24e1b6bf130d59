"""Means with bootstrap confidence intervals.

Videos are resampled rather than samples, because queries about the same video are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % confidence interval: the 2.5 % and 97.5 % quantiles of the bootstrap resamples."""

    mean: float
    low: float
    high: float


def estimates(values: np.ndarray, videos: Sequence[str]) -> list[Estimate]:
    """Estimate the mean of each column.

    Args:
        values: float (sample, metric); NaN leaves a sample out of a metric that is undefined for it.
        videos: the video of each sample.

    Returns:
        One estimate per metric; it is NaN if the metric is undefined for all samples.
    """
    defined = ~np.isnan(values)
    _, group = np.unique(np.asarray(videos), return_inverse=True)
    count = int(group.max()) + 1
    sums, counts = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
    np.add.at(sums, group, np.where(defined, values, 0))
    np.add.at(counts, group, defined)
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    with np.errstate(invalid="ignore"):  # a metric that is undefined for all samples is NaN
        means = (drawn @ sums) / (drawn @ counts)
        whole = sums.sum(axis=0) / counts.sum(axis=0)
    tail = (1 - LEVEL) / 2
    found = []
    for metric, mean in enumerate(whole):
        draws = means[:, metric][~np.isnan(means[:, metric])]
        low, high = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (np.nan, np.nan)
        found.append(Estimate(mean=float(mean), low=float(low), high=float(high)))
    return found
