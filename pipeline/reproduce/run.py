"""The paper's tables on the benchmark: every row trained and scored, resumable at any point."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pipeline.config import Config, Settings, load_config
from pipeline.evaluate import evaluate
from pipeline.reproduce.benchmark import Benchmark, OnProgress, Size, ensure_benchmark
from pipeline.reproduce.figures import write_bars, write_curves
from pipeline.reproduce.results import Result, read_result, write_open_points, write_page
from pipeline.reproduce.tables import TABLES, TableName
from pipeline.train import train

CONFIGS = Path(__file__).parent / "configs"
TEST_SPLITS = ("test", "test-unseen-words", "test-unseen-combinations")
OPEN_POINTS_SHARE = 0.4
"""Of the epochs: enough to tell variants apart."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs have in common."""

    out: Path
    size: Size
    seeds: int
    benchmark: Benchmark
    device: str
    on_progress: OnProgress

    def run(self, name: str, config: Config, splits: Sequence[str]) -> Result:
        """Train one model and score it on some splits, or go on where that was left."""
        folder = self.out / "runs" / name / str(config.train.seed)
        self._train(f"train {name}, seed {config.train.seed}", folder, config)
        for split, temporal_gt in product(splits, (False, True)):
            self._score(name, folder, split, config.device, temporal_gt=temporal_gt)
        return read_result(folder / "scores", splits)

    def _train(self, name: str, folder: Path, config: Config) -> None:
        def on_batch(epoch: int, done: int, total: int, _: float) -> None:
            self.on_progress(name, (epoch - 1) * total + done, config.train.epochs * total)

        for _ in train(self.benchmark.index, self.benchmark.store, folder, config, on_batch=on_batch):
            pass

    def _score(self, name: str, folder: Path, split: str, device: str, *, temporal_gt: bool) -> None:
        out = folder / "scores" / (f"{split}-gt" if temporal_gt else split)
        if (out / "scores.png").is_file():  # the last that evaluation writes
            return

        def on_batch(done: int, total: int) -> None:
            self.on_progress(f"score {name}, {out.name}", done, total)

        evaluate(
            folder, self.benchmark.index, self.benchmark.store, device=device, out=out, split=split,
            temporal_gt=temporal_gt, on_batch=on_batch,
        )  # fmt: skip


def open_bench(
    out: Path, *, size: Size, seeds: int, cache: Path, device: str, workers: int,
    on_progress: OnProgress = lambda *_: None,
) -> Bench:  # fmt: skip
    """Draw and extract what the cache lacks, for runs into a folder.

    Args:
        out: folder for the runs and their page. What is there is kept.
        size: of the benchmark.
        seeds: runs of each row.
        cache: folder for videos and features.
        device: as `pipeline.device.resolve_device` takes it.
        workers: processes that draw.
        on_progress: told of progress, here and in the runs.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    base = row_config({}, size=size, seed=0, device=device)
    benchmark = ensure_benchmark(size, cache, base, device=device, workers=workers, on_progress=on_progress)
    return Bench(out=out, size=size, seeds=seeds, benchmark=benchmark, device=device, on_progress=on_progress)


def reproduce_tables(bench: Bench, names: Sequence[TableName]) -> Path:
    """Train and score every row of some tables, and write a page of them.

    Writes runs/<row>/<seed>/ (see `pipeline.checkpoint`), with scores/<split>[-gt]/ in each, results.md, curves.png and
    bars.png, and returns the page. Raises GkcmnError.
    """
    tables = [TABLES[name] for name in names]
    rows = {row.config: row for table in tables for row in table.rows}
    results: dict[str, list[Result]] = {}
    for seed in range(bench.seeds):
        for name in rows:
            config = row_config(row_settings(name), size=bench.size, seed=seed, device=bench.device)
            results.setdefault(name, []).append(bench.run(name, config, TEST_SPLITS))
    write_curves(bench.out / "curves.png", {row.title: bench.out / "runs" / name / "0" for name, row in rows.items()})
    write_bars(bench.out / "bars.png", {row.title: results[name] for name, row in rows.items()})
    page = bench.out / "results.md"
    write_page(page, tables, results, size=bench.size, seeds=bench.seeds)
    return page


def reproduce_open_points(bench: Bench) -> Path:
    """Train GKCMN with each reading of what the paper leaves open, score it on the split val, and write a table.

    Returns the page, open_points.md. Raises GkcmnError.
    """
    results: dict[str, list[Result]] = {}
    for seed in range(bench.seeds):
        for title, settings in {"default": {}, **open_points()}.items():
            config = row_config(settings, size=bench.size, seed=seed, device=bench.device, share=OPEN_POINTS_SHARE)
            name = "open-" + "-".join("".join(c if c.isalnum() or c == "." else " " for c in title).split())
            results.setdefault(title, []).append(bench.run(name, config, ("val",)))
    page = bench.out / "open_points.md"
    write_open_points(page, results, size=bench.size, seeds=bench.seeds)
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
