"""Training: validation after each epoch, and the best weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from cli import main
from extract.errors import GkcmnError
from extract.io.tensors import load_tensors
from pipeline.checkpoint import BEST, WEIGHTS, load_model
from pipeline.errors import CheckpointError
from pipeline.evaluation.evaluate import evaluate
from pipeline.training.run_log import LOG, EpochReport, best_epoch, read_log
from pipeline.training.validation import Validation
from tests.media import square_sample, write_index_lines
from tests.test_checkpoint import QUERIES, config_of, make_store, train

SPANS = ((8, 24), (0, 12), (4, 36))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three videos, an index whose third video is the split "val", and runs with and without validation."""
    root = tmp_path_factory.mktemp("root")
    make_store(root, videos=3)
    samples = [
        square_sample(f"{number}.mp4", query, span)
        for number in range(3)
        for query, span in zip(QUERIES, SPANS, strict=True)
    ]
    write_index_lines(root / "i.jsonl", samples)
    lines = [json.loads(line) for line in (root / "i.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line["split"] = "val" if number >= 6 else "train"
    (root / "i.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train(config_of(root), root / "plain")
    train(config_of(root, val="val"), root / "scored")
    return root


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_validation_changes_no_weights(root: Path) -> None:
    assert same_weights(root / "plain" / WEIGHTS, root / "scored" / WEIGHTS)
    plain, scored = read_log(root / "plain"), read_log(root / "scored")
    assert [report.losses for report in plain] == [report.losses for report in scored]
    assert all(not report.validation for report in plain)
    assert all(set(report.validation) == {"m_tIoU", "m_vIoU"} for report in scored)


def test_validation_may_begin_and_end_with_a_resumed_run(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config_of(root, epochs=1), run)
    train(config_of(root, epochs=2, val="val"), run)
    train(config_of(root, epochs=3), run)
    first, second, third = read_log(run)
    assert (first.validation, third.validation) == ({}, {})
    assert second == read_log(root / "scored")[1]


def test_validation_scores_are_those_of_evaluate(root: Path, tmp_path: Path) -> None:
    report = evaluate(
        root / "scored", root / "i.jsonl", root / "s.zarr", device="cpu", out=tmp_path, split="val", batch_size=3
    )
    for name, value in read_log(root / "scored")[-1].validation.items():
        assert value == report.whole.metrics[name].mean


def command(root: Path, run: Path, *more: str) -> Any:
    sets = ["visual_width=4", "sentence_width=4", "fused_width=4", "attention_layers=1", "attention_heads=1"]
    args = ["train", str(root / "i.jsonl"), "--store", str(root / "s.zarr"), "--out", str(run), "--device", "cpu"]
    for value in sets:
        args += ["--set", f"model.{value}"]
    return CliRunner().invoke(main, [*args, "--epochs", "1", *more])


def test_the_epoch_line_shows_the_scores(root: Path, tmp_path: Path) -> None:
    result = command(root, tmp_path / "run", "--val", "val")
    assert result.exit_code == 0, result.output
    (report,) = read_log(tmp_path / "run")
    assert f"  m_tIoU {report.validation['m_tIoU']:.4f}  m_vIoU {report.validation['m_vIoU']:.4f}" in result.stdout
    (line,) = (tmp_path / "run" / LOG).read_text().splitlines()
    assert list(json.loads(line))[-4:] == ["skipped", "val_m_tIoU", "val_m_vIoU", "checksum"]


def test_a_split_that_the_index_lacks_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(GkcmnError, match="holds no samples of split 'dev'"):
        train(config_of(root, val="dev"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_report_keeps_its_scores() -> None:
    report = EpochReport(epoch=1, losses={"a": 1.0}, total=1.0, learning_rate=0.1, validation={"m_vIoU": 0.5})
    assert report.values["val_m_vIoU"] == 0.5


def report_of(epoch: int, m_viou: float | None) -> EpochReport:
    scores = {} if m_viou is None else {"m_vIoU": m_viou}
    return EpochReport(epoch=epoch, losses={}, total=1.0, learning_rate=0.1, validation=scores)


def test_the_best_epoch_is_the_first_with_the_highest_score() -> None:
    assert best_epoch([]) is None
    assert best_epoch([report_of(1, None)]) is None
    assert best_epoch([report_of(number, value) for number, value in enumerate((None, 0.2, 0.5, 0.5, 0.1), 1)]) == 3


def test_the_best_weights_are_kept_when_a_run_is_resumed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter((0.1, 0.6, 0.6, 0.3))
    monkeypatch.setattr(Validation, "scores", lambda *_: {"m_vIoU": next(values)})
    run = tmp_path / "run"
    train(config_of(root, epochs=2, val="val"), run)
    assert same_weights(run / BEST, run / WEIGHTS)
    best = load_file(run / BEST)
    (run / BEST).unlink()  # as if the process had ended before it was written
    train(config_of(root, epochs=4, val="val"), run)
    found = load_file(run / BEST)
    assert all(torch.equal(found[name], best[name]) for name in best)
    assert load_tensors(run / BEST)[1]["epochs"] == "2"
    assert not same_weights(run / BEST, run / WEIGHTS)
    assert [report.validation["m_vIoU"] for report in read_log(run)] == [0.1, 0.6, 0.6, 0.3]
    state = load_model(run, "best")[0].state_dict()
    assert all(torch.equal(state[name], best[name]) for name in best)


def test_a_run_without_validation_has_no_best_weights(root: Path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.safetensors: missing; train the run with --val"):
        load_model(root / "plain", "best")
