"""What the runs came to, as one page of Markdown."""

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
"""tIoU from which a span counts as right, and mean box IoU over the true span from which an object does."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One run's scores on one split."""

    videos: list[str]
    columns: dict[str, np.ndarray]
    """By metric, float (sample,)."""
    tiou: np.ndarray
    viou: np.ndarray
    trivial: dict[str, dict[str, float]]
    """Means of the trivial rows, by row and metric."""
    groups: dict[str, tuple[int, float]]
    """By group of samples (kind and length of sentence, length of span, area of box), their number and mean vIoU."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run's scores on all splits, with its own spans and with the true ones."""

    own: dict[str, Scored]
    given: dict[str, Scored]


def read_result(folder: Path, splits: Sequence[str]) -> Result:
    """Read the reports in <split>/ and <split>-gt/ of `folder`. Raises PredictionError."""
    return Result(
        own={split: _scored(folder / split / "scores.json") for split in splits},
        given={split: _scored(folder / f"{split}-gt" / "scores.json") for split in splits},
    )


def write_page(
    path: Path, tables: Sequence[Table], results: Mapping[str, Sequence[Result]], *, benchmark: str, seeds: int
) -> None:
    """Write all tables, what the models make of the unseen, and what they get wrong. Raises OutputError."""
    titles = {name: row.title for name, row in rows_of(tables).items()}
    test = next(iter(results.values()))[0].own["test"]
    head = (
        f"Benchmark `{benchmark}`, {seeds} seed{'s' if seeds > 1 else ''}; split `test`: {len(test.videos)} sentences "
        f"of {len(set(test.videos))} videos. Percent: the mean over seeds ± their standard deviation, and the 95 % "
        "interval of the mean by a bootstrap over videos. The paper's figures are VidSTG's, another data set: they "
        "stand beside ours for the order of the rows, not for their height."
    )
    parts = [
        "# Results",
        head,
        *(_table(table, results) for table in tables),
        "![means and intervals](bars.png)\n\n![training loss](curves.png)",
        "## What was never seen\n\n" + _unseen(results, titles),
        "## Which part is to blame\n\n" + _blame(results, titles),
        "## What goes wrong\n\n" + _confusions(results, titles),
        "## What is hard\n\n" + _groups(results, titles),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def write_open_points(path: Path, results: Mapping[str, Sequence[Result]], *, benchmark: str, seeds: int) -> None:
    """Write what each reading of the paper came to on the split val; the first is the default. Raises OutputError."""
    default, *_ = results.values()
    val = default[0].own["val"]
    metrics = (*val.columns, *default[0].given["val"].columns)
    lines = [_line(["", *metrics, "m_vIoU against the default"]), _line(["---"] * (2 + len(metrics)))]
    for title, runs in results.items():
        columns = [{**run.own["val"].columns, **run.given["val"].columns} for run in runs]
        means = [100 * float(np.mean([values[metric] for values in columns])) for metric in metrics]
        gains = [run.own["val"].viou - base.own["val"].viou for run, base in zip(runs, default, strict=True)]
        (found,) = estimates(np.mean(gains, axis=0)[:, None], val.videos)
        gain = f"{100 * found.mean:+.2f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        lines.append(_line([title, *(f"{mean:.2f}" for mean in means), "" if runs is default else gain]))
    head = (
        f"Benchmark `{benchmark}`, {seeds} seed{'s' if seeds > 1 else ''}, split `val`: {len(val.videos)} sentences of "
        f"{len(set(val.videos))} videos. Percent; the last column has the 95 % interval of a bootstrap over videos. "
        "gt: the true span is given."
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
    """Each metric's mean over seeds, their spread, and the interval."""
    stacked = {name: np.stack([run.columns[name] for run in runs]) for name in runs[0].columns}
    found = estimates(np.stack([values.mean(axis=0) for values in stacked.values()], axis=1), runs[0].videos)
    cells = []
    for values, estimate in zip(stacked.values(), found, strict=True):
        spread = f" ±{100 * values.mean(axis=1).std(ddof=1):.2f}" if len(runs) > 1 else ""
        cells.append(f"{100 * estimate.mean:.2f}{spread} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]")
    return cells


def _unseen(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """m_vIoU on every test split."""
    splits = list(next(iter(results.values()))[0].own)
    lines = [_line(["m_vIoU", *splits]), _line(["---"] * (1 + len(splits)))]
    for name, runs in results.items():
        means = [np.mean([run.own[split].viou.mean() for run in runs]) for split in splits]
        lines.append(_line([titles[name], *(f"{100 * mean:.2f}" for mean in means)]))
    return "\n".join(lines)


def _blame(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """m_vIoU on the split test if a part were perfect."""
    lines = [_line(["m_vIoU", "as it is", "true spans", "true boxes"]), _line(["---"] * 4)]
    for name, runs in results.items():
        # With true boxes a tube's vIoU is its span's tIoU.
        parts = ([run.own["test"].viou for run in runs], [run.given["test"].viou for run in runs],
                 [run.own["test"].tiou for run in runs])  # fmt: skip
        lines.append(_line([titles[name], *(f"{100 * np.mean(values):.2f}" for values in parts)]))
    return "\n".join(lines)


def _confusions(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """Shares of sentences by whether the span and the object were right."""
    head = ["", "both right", "span right, object wrong", "object right, span wrong", "both wrong"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, runs in results.items():
        span = np.concatenate([run.own["test"].tiou >= RIGHT for run in runs])
        thing = np.concatenate([run.given["test"].viou >= RIGHT for run in runs])
        shares = [span & thing, span & ~thing, ~span & thing, ~span & ~thing]
        lines.append(_line([titles[name], *(f"{100 * share.mean():.1f} %" for share in shares)]))
    note = f"A span is right from a tIoU of {RIGHT} on, an object from a mean box IoU of {RIGHT} over the true span."
    return "\n".join(lines) + "\n\n" + note


def _groups(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str]) -> str:
    """m_vIoU on each group of the split test."""
    lines = [_line(["m_vIoU", "sentences", *(titles[name] for name in results)]), _line(["---"] * (2 + len(results)))]
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
