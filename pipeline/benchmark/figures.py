"""Figures of the benchmark: training losses, and m_vIoU with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.benchmark.page import Result
from pipeline.console.score_figure import save_figure
from pipeline.evaluation.bootstrap import estimates
from pipeline.training.run_log import read_log


def write_curves(path: Path, runs: Mapping[str, Path]) -> None:
    """Plot the total loss of each run by epoch.

    Args:
        path: the PNG file to write.
        runs: folders of runs, by the title in the legend.

    Raises:
        CheckpointError: a log cannot be read.
        OutputError: the file cannot be written.
    """
    figure = _figure(7, 4)
    axes = figure.subplots()
    for title, run in runs.items():
        reports = read_log(run)
        axes.plot([item.epoch for item in reports], [item.total for item in reports], label=title, linewidth=1.4)
    axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    _save(figure, path)


def write_bars(path: Path, results: Mapping[str, Sequence[Result]]) -> None:
    """Plot the m_vIoU of each experiment on the split test, with its 95 % interval.

    Args:
        path: the PNG file to write.
        results: the results of all seeds, by the title of the experiment.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = _figure(7, 0.6 * len(results) + 1.2)
    axes = figure.subplots()
    for place, runs in enumerate(results.values()):
        scored = [run.own["test"] for run in runs]
        values = np.mean([run.columns["m_vIoU"] for run in scored], axis=0)
        (found,) = estimates(values[:, None], scored[0].videos)
        error = [[100 * (found.mean - found.low)], [100 * (found.high - found.mean)]]
        axes.barh(place, 100 * found.mean, xerr=error, color="#4c78a8", ecolor="0.3", capsize=3, height=0.6)
    axes.set(xlabel="m_vIoU (%)", yticks=range(len(results)), yticklabels=list(results))
    axes.invert_yaxis()
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, "png", dpi=150)
