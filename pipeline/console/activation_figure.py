"""A video's features as a picture: where each clip's maps are active."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from extract.store.feature_store import FeatureStore
from pipeline.console.score_figure import check_figure, save_figure

COLUMNS = 12
"""Clips in a row of the picture."""
MOST = 96
"""Clips that are shown; of a longer video, as many at equal distances."""


def write_activations(path: Path, store: FeatureStore, key: str) -> None:
    """Draw the mean over channels of each clip's 7x7 map, with its first frame. Raises OutputError or StoreError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = check_figure(path)
    clip_frames, _ = store.times(key)
    clips = len(clip_frames)
    shown = np.unique(np.linspace(0, clips - 1, min(clips, MOST)).round().astype(int))
    maps = np.concatenate([piece.astype(np.float32).mean(axis=1) for piece in store.pieces(key)])[shown]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(columns, 1.25 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(shown):
            axes.imshow(maps[place], vmin=0, vmax=float(maps.max()), cmap="magma")
            axes.set_title(str(clip_frames[shown[place], 0]), fontsize=7, pad=2)
    figure.suptitle(f"{key}: mean activation of {len(shown)} of {clips} clips, by first frame", fontsize=9)
    save_figure(figure, path, kind, dpi=120)
