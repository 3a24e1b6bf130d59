"""The paper's tables on the benchmark: every row trained and scored, resumable at any point."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from pipeline.config import Config, load_config
from pipeline.evaluate import evaluate
from pipeline.reproduce.benchmark import Benchmark, OnProgress, Size, ensure_benchmark
from pipeline.reproduce.figures import write_bars, write_curves
from pipeline.reproduce.results import Result, read_result, write_page
from pipeline.reproduce.tables import TABLES, TableName
from pipeline.train import train

CONFIGS = Path(__file__).parent / "configs"
TEST_SPLITS = ("test", "test-unseen-words", "test-unseen-combinations")


def reproduce(
    names: Sequence[TableName],
    out: Path,
    *,
    size: Size,
    seeds: int,
    cache: Path,
    device: str,
    workers: int,
    on_progress: OnProgress = lambda *_: None,
) -> Path:
    """Train and score every row of some tables, and write a page of them.

    Writes runs/<row>/<seed>/ (see `pipeline.checkpoint`), with scores/<split>[-gt]/ in each, results.md, curves.png and
    bars.png. What is there is kept.

    Args:
        names: the tables.
        out: folder for all of it.
        size: of the benchmark.
        seeds: runs of each row.
        cache: folder for videos and features.
        device: as `pipeline.device.resolve_device` takes it.
        workers: processes that draw.
        on_progress: told of progress.

    Returns:
        The page.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    base = load_config({"device": device}, file=CONFIGS / f"{size}.toml", environ={})
    benchmark = ensure_benchmark(size, cache, base, device=device, workers=workers, on_progress=on_progress)
    tables = [TABLES[name] for name in names]
    rows = {row.config: row for table in tables for row in table.rows}
    results: dict[str, list[Result]] = {}
    for seed in range(seeds):
        for row in rows.values():
            run = out / "runs" / row.config / str(seed)
            _train(row.config, run, benchmark, size, seed, device, on_progress)
            results.setdefault(row.config, []).append(_score(run, benchmark, device, on_progress))
    write_curves(out / "curves.png", {row.title: out / "runs" / name / "0" for name, row in rows.items()})
    write_bars(out / "bars.png", {row.title: results[name] for name, row in rows.items()})
    page = out / "results.md"
    write_page(page, tables, results, size=size, seeds=seeds)
    return page


def row_config(row: str, *, size: Size, seed: int, device: str) -> Config:
    """The settings of one run: the size's, then the row's."""
    own = tomllib.loads((CONFIGS / f"{row}.toml").read_text(encoding="utf-8")).get("model", {})
    flags = {"device": device, "train.seed": seed, **{f"model.{key}": value for key, value in own.items()}}
    return load_config(flags, file=CONFIGS / f"{size}.toml", environ={})


def _train(
    row: str, run: Path, benchmark: Benchmark, size: Size, seed: int, device: str, on_progress: OnProgress
) -> None:
    config = row_config(row, size=size, seed=seed, device=device)
    name = f"train {row}, seed {seed}"

    def on_batch(epoch: int, done: int, total: int, _: float) -> None:
        on_progress(name, (epoch - 1) * total + done, config.train.epochs * total)

    for _ in train(benchmark.index, benchmark.store, run, config, on_batch=on_batch):
        pass


def _score(run: Path, benchmark: Benchmark, device: str, on_progress: OnProgress) -> Result:
    for split, temporal_gt in product(TEST_SPLITS, (False, True)):
        name = f"{split}-gt" if temporal_gt else split
        out = run / "scores" / name

        def on_batch(done: int, total: int, name: str = name) -> None:
            on_progress(f"score {run.parent.name}, {name}", done, total)

        if not (out / "scores.png").is_file():  # the last that evaluation writes
            evaluate(
                run, benchmark.index, benchmark.store, device=device, out=out, split=split,
                temporal_gt=temporal_gt, on_batch=on_batch,
            )  # fmt: skip
    return read_result(run / "scores", TEST_SPLITS)
