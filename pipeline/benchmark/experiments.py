"""Reproduce the paper's tables on the benchmark: train and score each experiment. A rerun resumes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from extract.io.outputs import check_outputs
from extract.parallel import spread
from pipeline.benchmark.data import Benchmark, OnProgress, Size, ensure_benchmark
from pipeline.benchmark.figures import write_bars, write_curves
from pipeline.benchmark.page import Result, read_result, write_open_points, write_page
from pipeline.benchmark.tables import TABLES, TableName, rows_of
from pipeline.config import Config, Settings, load_config
from pipeline.device import resolve_device
from pipeline.evaluation.evaluate import evaluate
from pipeline.outputs.places import reproduction_output
from pipeline.training.trainer import train

CONFIGS = Path(__file__).parent / "configs"
TEST_SPLITS = ("test", "test-unseen-words", "test-unseen-combinations")
OPEN_POINTS_SHARE = 0.4
"""Fraction of the epochs for which the variants are trained; enough to show differences."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model to train and score."""

    name: str
    """Name shown in progress messages."""
    folder: Path
    """Folder of the run."""
    config: Config
    splits: Sequence[str]
    """Splits to score."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Settings and data that all runs share."""

    out: Path
    size: Size
    seeds: int
    benchmark: Benchmark
    device: str
    workers: int
    """Number of parallel runs on a CPU, where several single-threaded processes are faster than one multi-threaded
    process. A GPU executes one run at a time."""
    on_progress: OnProgress

    def folder(self, name: str, seed: int) -> Path:
        """Return the folder of one run: an experiment and a seed."""
        return self.out.absolute() / "runs" / self.benchmark.name / name / str(seed)

    def run(self, rows: Mapping[str, tuple[Settings, float]], splits: Sequence[str]) -> dict[str, list[Result]]:
        """Train and score a model for each experiment and seed. Finished work is kept.

        Args:
            rows: settings and epoch multiplier of each experiment, by name.
            splits: splits to score, with predicted spans and with true spans.

        Returns:
            the results of all seeds, by experiment.

        Raises:
            GkcmnError: training or evaluation failed.
        """
        runs = [
            Run(
                name=f"{name}, seed {seed}",
                folder=self.folder(name, seed),
                config=row_config(settings, size=self.size, seed=seed, device=self.device, share=share),
                splits=splits,
            )
            for seed in range(self.seeds)
            for name, (settings, share) in rows.items()
        ]
        workers = self.workers if self.device == "cpu" else 1
        work = partial(train_and_score, benchmark=self.benchmark)
        for done in spread(work, runs, workers=workers, on_event=self.on_progress):
            done.value()
        return {
            name: [read_result(self.folder(name, seed) / "scores", splits) for seed in range(self.seeds)]
            for name in rows
        }


def train_and_score(run: Run, on_progress: OnProgress, *, benchmark: Benchmark) -> None:
    """Train one model and score it on its splits; finished work is kept. Raises GkcmnError."""

    def on_batch(epoch: int, done: int, total: int, _: float) -> None:
        on_progress(f"train {run.name}", (epoch - 1) * total + done, run.config.train.epochs * total)

    train(benchmark.index, benchmark.store, run.folder, run.config, on_batch=on_batch)
    for split, temporal_gt in product(run.splits, (False, True)):
        out = run.folder / "scores" / (f"{split}-gt" if temporal_gt else split)
        if not (out / "scores.png").is_file():  # evaluation writes this file last
            evaluate(
                run.folder, benchmark.index, benchmark.store, device=run.config.device, out=out, split=split,
                temporal_gt=temporal_gt, on_batch=partial(on_progress, f"score {run.name}, {out.name}"),
            )  # fmt: skip


def open_bench(
    out: Path, *, size: Size, seeds: int, cache: Path, device: str, workers: int, force: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Bench:  # fmt: skip
    """Prepare the benchmark data and the folder for the runs.

    Args:
        out: folder for the runs and the page of results. Existing runs are kept.
        size: size of the benchmark, "small" or "full".
        seeds: number of runs of each experiment.
        cache: folder for videos and features.
        device: a name that `pipeline.device.resolve_device` accepts.
        workers: number of processes that render and, on a CPU, extract and train.
        force: write into folders that contain other files.
        on_progress: called with the progress of the preparation and of the runs.

    Raises:
        GkcmnError: the preparation failed; the message states the cause.
    """
    check_outputs([reproduction_output(out)], {}, force=force)
    device = resolve_device(device)
    base = row_config({}, size=size, seed=0, device=device)
    benchmark = ensure_benchmark(size, cache.absolute(), base, workers=workers, force=force, on_progress=on_progress)
    return Bench(
        out=out, size=size, seeds=seeds, benchmark=benchmark, device=device, workers=workers, on_progress=on_progress
    )


def reproduce_tables(bench: Bench, names: Sequence[TableName]) -> Path:
    """Train and score all experiments of some tables and write a page of results.

    The files in `bench.out` are runs/<benchmark>/<experiment>/<seed>/ (see `pipeline.checkpoint`) with
    scores/<split>[-gt]/ in each, results.md, curves.png and bars.png.

    Args:
        bench: the result of `open_bench`.
        names: the tables.

    Returns:
        the path of results.md.

    Raises:
        GkcmnError: a step failed; the message states the cause.
    """
    tables = [TABLES[name] for name in names]
    rows = rows_of(tables)
    results = bench.run({name: (row_settings(row.config), row.share) for name, row in rows.items()}, TEST_SPLITS)
    write_curves(bench.out / "curves.png", {row.title: bench.folder(name, 0) for name, row in rows.items()})
    write_bars(bench.out / "bars.png", {row.title: results[name] for name, row in rows.items()})
    page = bench.out / "results.md"
    write_page(page, tables, results, benchmark=bench.benchmark.name, seeds=bench.seeds)
    return page


def reproduce_open_points(bench: Bench) -> Path:
    """Train GKCMN with each alternative for the paper's open points, score it on the split val and write a table.

    Args:
        bench: the result of `open_bench`.

    Returns:
        the path of open_points.md.

    Raises:
        GkcmnError: a step failed; the message states the cause.
    """
    base = row_config({}, size=bench.size, seed=0, device=bench.device).train
    default = f"default: learning rate {base.learning_rate:g}, warm-up of {base.warmup_steps} steps"
    variants: dict[str, Settings] = {default: {}, **open_points()}
    names = {
        title: "open-" + "-".join("".join(c if c.isalnum() or c == "." else " " for c in title).split())
        for title in variants
    }
    results = bench.run({names[title]: (variants[title], OPEN_POINTS_SHARE) for title in variants}, ("val",))
    page = bench.out / "open_points.md"
    scored = {title: results[names[title]] for title in variants}
    write_open_points(page, scored, benchmark=bench.benchmark.name, seeds=bench.seeds)
    return page


def row_settings(row: str) -> Settings:
    """Read the settings of an experiment from its file in configs/."""
    return tomllib.loads((CONFIGS / f"{row}.toml").read_text(encoding="utf-8"))


def open_points() -> dict[str, Settings]:
    """Read the settings of all variants of the open points, by title."""
    return row_settings("open_points")


def row_config(settings: Settings, *, size: Size, seed: int, device: str, share: float = 1.0) -> Config:
    """Build the configuration of one run.

    Args:
        settings: the experiment's settings; they override those of the size.
        size: size of the benchmark, which determines the training settings.
        seed: the training seed.
        device: device to train on.
        share: epoch multiplier.
    """
    own = {f"{section}.{key}": value for section, part in settings.items() for key, value in part.items()}
    base = load_config(own, file=CONFIGS / f"{size}.toml", environ={})
    epochs = max(1, round(share * base.train.epochs))
    flags = {**own, "device": device, "train.seed": seed, "train.epochs": epochs}
    return load_config(flags, file=CONFIGS / f"{size}.toml", environ={})
