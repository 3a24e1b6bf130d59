"""Tests of the benchmark: configurations of the experiments, and the page of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.benchmark.data import Size
from pipeline.benchmark.experiments import CONFIGS, TEST_SPLITS, open_points, row_config, row_settings
from pipeline.benchmark.figures import write_bars
from pipeline.benchmark.page import read_result, write_open_points, write_page
from pipeline.benchmark.tables import TABLES
from pipeline.evaluation.report import write_report
from pipeline.evaluation.score import score
from pipeline.types import Prediction, Sample

OTHERS = {"bm", "gkcmn", "gkcmn_plus"}
BOX = np.array([0, 0, 10, 10], np.float32)


@pytest.mark.parametrize("size", ["small", "full"])
def test_each_experiment_has_a_configuration(size: Size) -> None:
    rows = {row.config for table in TABLES.values() for row in table.rows}
    assert {path.stem for path in CONFIGS.glob("*.toml")} == rows | {"small", "full", "open_points"}
    configs = {row: row_config(row_settings(row), size=size, seed=3, device="cpu") for row in rows}
    assert {config.train.seed for config in configs.values()} == {3}
    assert configs["bm"].model.architecture == "baseline"
    ablations = {config.model.ablation for row, config in configs.items() if row not in OTHERS}
    assert ablations == rows - OTHERS
    # Experiments differ only in their model.
    assert len({replace(config, model=configs["bm"].model) for config in configs.values()}) == 1


def test_each_open_point_differs_from_the_defaults() -> None:
    base = row_config({}, size="small", seed=0, device="cpu", share=0.5)
    variants = [row_config(own, size="small", seed=0, device="cpu", share=0.5) for own in open_points().values()]
    assert len({base, *variants}) == 1 + len(variants)
    whole = row_config({}, size="small", seed=0, device="cpu")
    assert {config.train.epochs for config in variants} == {round(0.5 * whole.train.epochs)}


def scores(folder: Path, *, right_spans: int, right_boxes: int, splits: Sequence[str] = TEST_SPLITS) -> None:
    """Write reports of ten samples about five videos for each split."""
    samples, own, given = [], {}, {}
    for number in range(10):
        sample = Sample(
            id=str(number), video=f"{number // 2}.mp4", query="the man", kind="declarative", segment=(0, 40),
            span=(10, 20), boxes=np.tile(BOX, (10, 1)), split="test", size=(64, 48), frame_count=40, fps=10.0,
        )  # fmt: skip
        box = BOX if number < right_boxes else BOX + 30
        span = (10, 20) if number < right_spans else (30, 40)
        samples.append(sample)
        own[sample.id] = Prediction(id=sample.id, span=span, frames=np.array([span[0]]), boxes=box[None])
        given[sample.id] = replace(own[sample.id], span=(10, 20))
    for split in splits:
        for name, found in ((split, own), (f"{split}-gt", given)):
            report = score(samples, found, temporal_gt=name.endswith("-gt"))
            write_report(folder / name / "scores.json", report, predictions="p", index="i")


def test_page_shows_means_deviations_intervals_and_errors(tmp_path: Path) -> None:
    results = {}
    for row, boxes in (("bm", (4, 4)), ("gkcmn", (7, 9)), ("gkcmn_plus", (8, 8)), ("gkcmn_plus-2.5", (9, 9))):
        for seed, right in enumerate(boxes):
            scores(tmp_path / row / str(seed), right_spans=8, right_boxes=right)
        results[row] = [read_result(tmp_path / row / str(seed), TEST_SPLITS) for seed in range(2)]
    write_page(tmp_path / "r.md", [TABLES["table1"], TABLES["table2"]], results, benchmark="small-5", seeds=2)
    page = (tmp_path / "r.md").read_text()
    lines = {line.split(" | ")[0].strip("| "): line for line in reversed(page.splitlines()) if line.startswith("|")}
    # 8 of 10 spans are correct. The first 7 (seed 0) or 9 (seed 1) boxes are correct: m_vIoU is 0.7 and 0.8.
    assert "| 80.00 ±0.00 [" in lines["**GKCMN**"]
    assert "| 75.00 ±7.07 [" in lines["**GKCMN**"]
    assert lines["BM, paper"] == "| BM, paper | 32.62 | 7.21 | 9.03 | 3.87 |"
    assert "segment, centre box" in lines
    assert "10 queries about 5 videos" in page
    blame = page.partition("## Error attribution")[2]
    assert "| GKCMN | 75.00 | 80.00 | 80.00 |" in blame
    wrong = page.partition("## Error types")[2]
    assert "| GKCMN | 75.0 % | 5.0 % | 5.0 % | 15.0 % |" in wrong
    hard = page.partition("## Scores by group")[2]
    assert "| declarative | 10 | 40.00 | 75.00 | 80.00 | 80.00 |" in hard
    unseen = page.partition("## Unseen words and combinations")[2]
    assert "| BM | 40.00 | 40.00 | 40.00 |" in unseen
    write_bars(tmp_path / "b.png", {"BM": results["bm"], "GKCMN": results["gkcmn"]})
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_open_points_page_shows_the_difference_from_the_default(tmp_path: Path) -> None:
    results = {}
    for title, boxes in (("default", 5), ("sigma 1.5", 8)):
        scores(tmp_path / title, right_spans=8, right_boxes=boxes, splits=("val",))
        results[title] = [read_result(tmp_path / title, ("val",))]
    write_open_points(tmp_path / "o.md", results, benchmark="small-5", seeds=1)
    page = (tmp_path / "o.md").read_text()
    assert "| sigma 1.5 | 80.00 | 80.00 |" in page
    assert "| +30.00 [" in page
