"""The paper's tables on the benchmark: every row trained and scored, resumable at any point."""

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
"""Of the epochs: enough to tell variants apart."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model to be trained and scored."""

    name: str
    folder: Path
    config: Config
    splits: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs have in common."""

    out: Path
    size: Size
    seeds: int
    benchmark: Benchmark
    device: str
    workers: int
    """Runs side by side on a CPU, where several processes of one thread get more done than one of several threads; a
    GPU has one at a time."""
    on_progress: OnProgress

    def folder(self, name: str, seed: int) -> Path:
        """Of one run of a row."""
        return self.out.absolute() / "runs" / self.benchmark.name / name / str(seed)

    def run(self, rows: Mapping[str, tuple[Settings, float]], splits: Sequence[str]) -> dict[str, list[Result]]:
        """Train a model of each row's settings with each seed and score it, or go on where that was left.

        Args:
            rows: settings and share of the size's epochs, by the name of the row.
            splits: what is scored, with the models' own spans and with the true ones.

        Returns:
            By row, a result of each seed. Raises GkcmnError.
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
    """Train one model and score it on its splits, or go on where that was left. Raises GkcmnError."""

    def on_batch(epoch: int, done: int, total: int, _: float) -> None:
        on_progress(f"train {run.name}", (epoch - 1) * total + done, run.config.train.epochs * total)

    train(benchmark.index, benchmark.store, run.folder, run.config, on_batch=on_batch)
    for split, temporal_gt in product(run.splits, (False, True)):
        out = run.folder / "scores" / (f"{split}-gt" if temporal_gt else split)
        if not (out / "scores.png").is_file():  # the last that evaluation writes
            evaluate(
                run.folder, benchmark.index, benchmark.store, device=run.config.device, out=out, split=split,
                temporal_gt=temporal_gt, on_batch=partial(on_progress, f"score {run.name}, {out.name}"),
            )  # fmt: skip


def open_bench(
    out: Path, *, size: Size, seeds: int, cache: Path, device: str, workers: int, force: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Bench:  # fmt: skip
    """Draw and extract what the cache lacks, for runs into a folder.

    Args:
        out: folder for the runs and their page. What is there is kept.
        size: of the benchmark.
        seeds: runs of each row.
        cache: folder for videos and features.
        device: as `pipeline.device.resolve_device` takes it.
        workers: processes that draw, and on a CPU extract and train.
        force: write into folders that hold what this program did not write.
        on_progress: told of progress, here and in the runs.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    check_outputs([reproduction_output(out)], {}, force=force)
    device = resolve_device(device)
    base = row_config({}, size=size, seed=0, device=device)
    benchmark = ensure_benchmark(size, cache.absolute(), base, workers=workers, force=force, on_progress=on_progress)
    return Bench(
        out=out, size=size, seeds=seeds, benchmark=benchmark, device=device, workers=workers, on_progress=on_progress
    )


def reproduce_tables(bench: Bench, names: Sequence[TableName]) -> Path:
    """Train and score every row of some tables, and write a page of them.

    Writes runs/<benchmark>/<row>/<seed>/ (see `pipeline.checkpoint`), with scores/<split>[-gt]/ in each, results.md,
    curves.png and bars.png, and returns the page. Raises GkcmnError.
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
    """Train GKCMN with each reading of what the paper leaves open, score it on the split val, and write a table.

    Returns the page, open_points.md. Raises GkcmnError.
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
    """What a row's file says."""
    return tomllib.loads((CONFIGS / f"{row}.toml").read_text(encoding="utf-8"))


def open_points() -> dict[str, Settings]:
    """Each variant's settings, by its title."""
    return row_settings("open_points")


def row_config(settings: Settings, *, size: Size, seed: int, device: str, share: float = 1.0) -> Config:
    """The settings of one run: the size's, then its own; trained for a share of the size's epochs."""
    own = {f"{section}.{key}": value for section, part in settings.items() for key, value in part.items()}
    base = load_config(own, file=CONFIGS / f"{size}.toml", environ={})
    epochs = max(1, round(share * base.train.epochs))
    flags = {**own, "device": device, "train.seed": seed, "train.epochs": epochs}
    return load_config(flags, file=CONFIGS / f"{size}.toml", environ={})
