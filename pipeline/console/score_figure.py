"""Plot a report: histograms of tIoU and vIoU, and the percentage of samples above each threshold R."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extract.errors import OutputError
from extract.io.files import check_writable, replacing
from extract.io.outputs import MADE_BY
from pipeline.evaluation.score import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def write_figure(path: Path, report: Report) -> None:
    """Plot a report and write it as PNG, SVG or PDF.

    Args:
        path: file of the figure; its suffix selects the format.
        report: report to plot.

    Raises:
        OutputError: the suffix is none of FORMATS, or the file cannot be written.
    """
    kind = check_figure(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tious = np.array([score.tiou for score in report.scores])
    vious = np.array([score.viou for score in report.scores])
    overlap = "gt_vIoU" if report.temporal_gt else "vIoU"
    spread = {overlap: vious} if report.temporal_gt else {"tIoU": tious, overlap: vious}
    spread = {name: values[~np.isnan(values)] for name, values in spread.items()}
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    grid = np.linspace(0, 1, 101)
    for name, values in spread.items():
        if len(values):
            left.hist(values, bins=20, range=(0, 1), histtype="step", linewidth=1.6, label=name)
            right.plot(grid, [100 * float((values > bound).mean()) for bound in grid], linewidth=1.6, label=name)
    left.set(xlabel="overlap", ylabel="samples", xlim=(0, 1), title=f"{len(tious)} samples, {report.protocol}")
    right.set(xlabel="R", ylabel="samples above R (%)", xlim=(0, 1), ylim=(0, 100), title="recall")
    for threshold in report.thresholds:
        right.axvline(threshold, color="0.7", linewidth=0.8, linestyle=":")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    save_figure(figure, path, kind, dpi=150)


def save_figure(figure: Figure, path: Path, kind: str, *, dpi: int) -> None:
    """Write a figure with metadata by which the program later recognizes its own file.

    Args:
        figure: figure to write.
        path: output file.
        kind: one of FORMATS.
        dpi: resolution in dots per inch.

    Raises:
        OutputError: the file cannot be written.
    """
    mark = {"Software" if kind == "png" else "Creator": MADE_BY}
    with replacing(path) as partial:
        figure.savefig(partial, format=kind, dpi=dpi, metadata=mark)


def check_figure(path: Path) -> str:
    """Return the format of a figure, from its suffix, and check that the file can be written.

    Raises:
        OutputError: the suffix is none of FORMATS, or the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise OutputError(f"{path}: no known kind of figure; let its name end in {', '.join(FORMATS)}")
    check_writable(path)
    return kind
