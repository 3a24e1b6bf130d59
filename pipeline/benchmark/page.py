"""Write the results of the benchmark as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.io.files import write_text
from pipeline.benchmark.tables import Table, rows_of
from pipeline.evaluation.bootstrap import estimates
from pipeline.evaluation.report import read_report, report_columns

RIGHT = 0.5
"""Threshold for error types: the smallest tIoU of a correct span, and the smallest mean box IoU over the true span of a
correct object."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one run on one split."""

    videos: list[str]
    columns: dict[str, np.ndarray]
    """Scores of all samples by metric, float (samples,)."""
    tiou: np.ndarray
    viou: np.ndarray
    trivial: dict[str, dict[str, float]]
    """Means of the naive baselines, by baseline and metric."""
    groups: dict[str, tuple[int, float]]
    """Number of samples and mean vIoU by group (kind and length of the query, length of the span, area of the box)."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Scores of one run on all splits."""

    own: dict[str, Scored]
    """Scores with predicted spans, by split."""
    given: dict[str, Scored]
    """Scores with true spans, by split."""


def read_result(folder: Path, splits: Sequence[str]) -> Result:
    """Read the reports in the subfolders <split> and <split>-gt. Raises PredictionError."""
    return Result(
        own={split: _scored(folder / split / "scores.json") for split in splits},
        given={split: _scored(folder / f"{split}-gt" / "scores.json") for split in splits},
    )


def write_page(
    path: Path, tables: Sequence[Table], results: Mapping[str, Sequence[Result]], *, benchmark: str, seeds: int
) -> None:
    """Write the page: tables, scores on unseen words and combinations, and error analysis.

    Args:
        path: the file to write.
        tables: tables of the paper.
        results: the results of all seeds, by experiment.
        benchmark: name of the benchmark.
        seeds: number of seeds.

    Raises:
        OutputError: the file cannot be written.
    """
    titles = {name: row.title for name, row in rows_of(tables).items()}
    test = next(iter(results.values()))[0].own["test"]
    head = (
        f"Benchmark `{benchmark}`, {seeds} seed{'s' if seeds > 1 else ''}; split `test`: {len(test.videos)} queries "
        f"about {len(set(test.videos))} videos. All values are percentages: the mean over seeds ± the standard "
        "deviation, with the 95 % interval of a bootstrap over videos. The paper's values were measured on another "
        "data set, VidSTG: compare the ranking, not the absolute values."
    )
    parts = [
        "# Results",
        head,
        *(_table(table, results) for table in tables),
        "![means and intervals](bars.png)\n\n![training loss](curves.png)",
        "## Unseen words and combinations\n\n" + _unseen(results, titles),
        "## Error attribution\n\n" + _blame(results, titles),
        "## Error types\n\n" + _confusions(results, titles),
        "## Scores by group\n\n" + _groups(results, titles),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def write_open_points(path: Path, results: Mapping[str, Sequence[Result]], *, benchmark: str, seeds: int) -> None:
    """Write a table of the variants' scores on the split val.

    Args:
        path: the file to write.
        results: the results of all seeds, by the title of the variant; the first is the default.
        benchmark: name of the benchmark.
        seeds: number of seeds.

    Raises:
        OutputError: the file cannot be written.
    """
    default, *_ = results.values()
    val = default[0].own["val"]
    metrics = (*val.columns, *default[0].given["val"].columns)
    lines = [_line(["", *metrics, "m_vIoU minus the default's"]), _line(["---"] * (2 + len(metrics)))]
    for title, runs in results.items():
        columns = [{**run.own["val"].columns, **run.given["val"].columns} for run in runs]
        means = [100 * float(np.mean([values[metric] for values in columns])) for metric in metrics]
        gains = [run.own["val"].viou - base.own["val"].viou for run, base in zip(runs, default, strict=True)]
        (found,) = estimates(np.mean(gains, axis=0)[:, None], val.videos)
        gain = f"{100 * found.mean:+.2f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        lines.append(_line([title, *(f"{mean:.2f}" for mean in means), "" if runs is default else gain]))
    head = (
        f"Benchmark `{benchmark}`, {seeds} seed{'s' if seeds > 1 else ''}, split `val`: {len(val.videos)} queries "
        f"about {len(set(val.videos))} videos. All values are percentages. The last column includes the 95 % interval "
        "of a bootstrap over videos. gt: scored with the true span."
    )
    write_text(path, f"# Open points, measured\n\n{head}\n\n" + "\n".join(lines) + "\n")


def _table(table: Table, results: Mapping[str, Sequence[Result]]) -> str:
    chosen = {
        row.name: [(run.given if table.temporal_gt else run.own)["test"] for run in results[row.name]]
        for row in table.rows
    }
    first = next(iter(chosen.values()))[0]
    lines = [_line(["", *first.columns]), _line(["---"] * (1 + len(first.columns)))]
    lines += [
        _line([name, *(f"{100 * means[metric]:.2f}" for metric in first.columns)])
        for name, means in first.trivial.items()
    ]
    for row in table.rows:
        lines.append(_line([f"**{row.title}**", *_cells(chosen[row.name])]))
        if row.paper is not None:
            lines.append(_line([f"{row.title}, paper", *(f"{value:.2f}" for value in row.paper)]))
    return f"## {table.title}\n\n" + "\n".join(lines)


def _cells(runs: Sequence[Scored]) -> list[str]:
    """Format the mean over seeds, the standard deviation and the interval of each metric."""
    stacked = {name: np.stack([run.columns[name] for run in runs]) for name in runs[0].columns}
    found = estimates(np.stack([values.mean(axis=0) for values in stacked.values()], axis=1), runs[0].videos)
    cells = []
    for values, estimate in zip(stacked.values(), found, strict=True):
        spread = f" ±{100 * values.mean(axis=1).std(ddof=1):.2f}" if len(runs) > 1 else ""
        cells.append(f"{100 * estimate.mean:.2f}{spread} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]")
    return cells


def _unseen(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """Format the m_vIoU of each experiment on all test splits."""
    splits = list(next(iter(results.values()))[0].own)
    lines = [_line(["m_vIoU", *splits]), _line(["---"] * (1 + len(splits)))]
    for name, runs in results.items():
        means = [np.mean([run.own[split].viou.mean() for run in runs]) for split in splits]
        lines.append(_line([titles[name], *(f"{100 * mean:.2f}" for mean in means)]))
    return "\n".join(lines)


def _blame(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """Format the m_vIoU on the split test with predictions, with true spans and with true boxes."""
    lines = [_line(["m_vIoU", "predicted", "true spans", "true boxes"]), _line(["---"] * 4)]
    for name, runs in results.items():
        # With true boxes, vIoU equals tIoU.
        parts = ([run.own["test"].viou for run in runs], [run.given["test"].viou for run in runs],
                 [run.own["test"].tiou for run in runs])  # fmt: skip
        lines.append(_line([titles[name], *(f"{100 * np.mean(values):.2f}" for values in parts)]))
    return "\n".join(lines)


def _confusions(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """Format the shares of queries by whether the span and the object are correct."""
    head = ["", "both correct", "wrong object", "wrong span", "both wrong"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, runs in results.items():
        span = np.concatenate([run.own["test"].tiou >= RIGHT for run in runs])
        thing = np.concatenate([run.given["test"].viou >= RIGHT for run in runs])
        shares = [span & thing, span & ~thing, ~span & thing, ~span & ~thing]
        lines.append(_line([titles[name], *(f"{100 * share.mean():.1f} %" for share in shares)]))
    note = (
        f"A span is correct if its tIoU is at least {RIGHT}. An object is correct if the mean box IoU over the true "
        f"span is at least {RIGHT}."
    )
    return "\n".join(lines) + "\n\n" + note


def _groups(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """Format the m_vIoU on each group of the split test."""
    lines = [_line(["m_vIoU", "queries", *(titles[name] for name in results)]), _line(["---"] * (2 + len(results)))]
    for group, (samples, _) in next(iter(results.values()))[0].own["test"].groups.items():
        means = [np.mean([run.own["test"].groups[group][1] for run in runs]) for runs in results.values()]
        lines.append(_line([group, str(samples), *(f"{100 * mean:.2f}" for mean in means)]))
    return "\n".join(lines)


def _scored(path: Path) -> Scored:
    content = read_report(path)
    return Scored(
        videos=[line["video"] for line in content["samples"]],
        columns=report_columns(content),
        tiou=np.array([line["tiou"] for line in content["samples"]]),
        viou=np.array([line["viou"] for line in content["samples"]]),
        trivial={
            name: {metric: value["mean"] for metric, value in row.items() if metric != "samples"}
            for name, row in content["trivial"].items()
        },
        groups={
            group: (values["samples"], values["m_gt_vIoU" if content["temporal_gt"] else "m_vIoU"]["mean"])
            for part in content["groups"].values()
            for group, values in part.items()
        },
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
