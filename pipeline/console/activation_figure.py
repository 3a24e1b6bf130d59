"""Plot the features of a video: the mean activation of each clip's feature map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from extract.store.feature_store import FeatureStore
from pipeline.console.score_figure import check_figure, save_figure

COLUMNS = 12
"""Number of clips per row of the figure."""
MOST = 96
"""Maximum number of clips in the figure; for a longer video, clips at equal distances are plotted."""


def write_activations(path: Path, store: FeatureStore, key: str) -> None:
    """Plot the mean over channels of each clip's 7x7 map, titled with the number of the clip's first frame.

    Args:
        path: file of the figure; its suffix selects the format, one of `pipeline.console.score_figure.FORMATS`.
        store: store that contains the video.
        key: key of the video.

    Raises:
        OutputError: the figure cannot be written.
        StoreError: the video is missing or damaged.
    """
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
