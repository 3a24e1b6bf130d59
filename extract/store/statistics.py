"""Statistics of a whole store, by dask: larger than memory, spread over cores."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from dask.base import compute

from extract.errors import StoreError
from extract.store.feature_store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Over all clips and cells of all videos, each float64 (channel,)."""

    mean: np.ndarray
    std: np.ndarray
    zeros: np.ndarray
    """Share of values that are 0."""


def channel_statistics(store: FeatureStore) -> ChannelStatistics:
    """Read every feature once. Raises StoreError if there is none, or one is damaged."""
    arrays = [da.from_array(store.lazy(key), name=False) for key in sorted(store.keys())]
    if not arrays:
        raise StoreError(f"{store.place}: holds no video yet; extract some with: gkcmn-pipe features VIDEOS")
    axes = (0, 2, 3)
    try:
        values = da.concatenate(arrays).astype(np.float64)
        mean, square, zeros = compute(
            values.mean(axis=axes), (values**2).mean(axis=axes), (values == 0).mean(axis=axes)
        )
    except (ValueError, RuntimeError, OSError) as error:  # the first, too, of videos whose numbers of channels differ
        raise StoreError(f"{store.place}: features are damaged ({error}); see gkcmn-pipe verify") from error
    return ChannelStatistics(mean=mean, std=np.sqrt(np.maximum(0, square - mean**2)), zeros=zeros)
