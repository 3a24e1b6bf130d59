"""Statistics over all features of a store, computed with dask in parallel and without loading them all into memory."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from dask.base import compute

from extract.errors import StoreError
from extract.store.feature_store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Statistics of each channel over all clips and cells of all videos; each array is float64 (channel,)."""

    mean: np.ndarray
    std: np.ndarray
    zeros: np.ndarray
    """Fraction of values that are 0, in [0, 1]."""


def channel_statistics(store: FeatureStore) -> ChannelStatistics:
    """Return the statistics of all features of a store; each feature is read once.

    Raises:
        StoreError: the store contains no video, or features are damaged.
    """
    arrays = [da.from_array(store.lazy(key), name=False) for key in sorted(store.keys())]
    if not arrays:
        raise StoreError(f"{store.place}: holds no video yet; extract some with: gkcmn-pipe features VIDEOS")
    axes = (0, 2, 3)
    try:
        values = da.concatenate(arrays).astype(np.float64)
        mean, square, zeros = compute(
            values.mean(axis=axes), (values**2).mean(axis=axes), (values == 0).mean(axis=axes)
        )
    except (ValueError, RuntimeError, OSError) as error:  # ValueError also if videos differ in their number of channels
        raise StoreError(f"{store.place}: features are damaged ({error}); see gkcmn-pipe verify") from error
    return ChannelStatistics(mean=mean, std=np.sqrt(np.maximum(0, square - mean**2)), zeros=zeros)
