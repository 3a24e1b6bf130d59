"""Tests of a run's files: damage, swapped and malformed files are detected, and diverging training ends."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from cli import main
from extract.clips import plan_clips
from extract.errors import GkcmnError, StoreError, WeightsError
from extract.io.tensors import load_archive, load_tensors, save_tensors
from extract.records import EncodedQuery, VideoRecord
from extract.store.feature_store import FeatureStore
from extract.text.vectors import check_sha256, drop_damaged
from model.config import ModelConfig
from model.registry import build_model
from pipeline.checkpoint import CONFIG, TRAINING, WEIGHTS, load_model, load_settings
from pipeline.config import Config, PathsConfig, TrainConfig
from pipeline.data.dataset import Batch, GroundingDataset, collate
from pipeline.data.index import read_index
from pipeline.data.queries import encoding_name
from pipeline.errors import CheckpointError, ConfigError, PredictionError, TrainingError
from pipeline.inference.predict import predict
from pipeline.inference.pretrained import SHIPPED
from pipeline.training import trainer as training
from pipeline.training.divergence import IN_A_ROW, DivergenceCheck
from pipeline.training.run_log import LOG, EpochReport, read_log
from pipeline.types import Tube
from tests.media import square_sample, write_index_lines

pytestmark = pytest.mark.slow

QUERIES = ("the red square moves", "what moves?", "a square")
FILES = (CONFIG, WEIGHTS, TRAINING, LOG)


def config_of(root: Path, **train: Any) -> Config:
    return Config(
        device="cpu",
        paths=PathsConfig(store=str(root / "s.zarr"), index=root / "i.jsonl", run=root / "run"),
        model=ModelConfig(
            visual_width=4, sentence_width=4, fused_width=4, attention_layers=1, attention_heads=1, heatmap_size=7,
            span_kernel=3,
        ),
        train=TrainConfig(**{"epochs": 2, "batch_size": 3, "warmup_steps": 0, **train}),
    )  # fmt: skip


def make_store(root: Path, *, videos: int = 2) -> None:
    """Create random features and word vectors, without a backbone or a word list."""
    store = FeatureStore.open_for(root / "s.zarr", {"backbone": "none"})
    rng = np.random.default_rng(0)
    for number in range(videos):
        ranges = plan_clips(40, length=8, stride=4)
        with store.write(f"{number}.mp4", channels=8) as writer:
            writer.append(rng.random((len(ranges), 8, 7, 7), dtype=np.float32))
            record = VideoRecord(
                key=f"{number}.mp4", source=f"/{number}.mp4", source_digest="d", width=64, height=48, fps=10.0,
                frame_count=40, duration_s=4.0, decoder="none",
            )  # fmt: skip
            writer.finish(record, clip_frames=ranges, frame_times=np.arange(41) / 10)
    add_queries(root, rng)
    samples = [
        square_sample(f"{number}.mp4", query, span)
        for number in range(videos)
        for query, span in zip(QUERIES, ((8, 24), (0, 12), (4, 36)), strict=True)
    ]
    write_index_lines(root / "i.jsonl", samples)


def add_queries(root: Path, rng: np.random.Generator, scale: float = 1.0) -> None:
    def encoded(query: str) -> EncodedQuery:
        words = tuple(query.split())
        vectors = scale * rng.standard_normal((len(words), 6)).astype(np.float32)
        return EncodedQuery(words=words, vectors=vectors, unknown=(), dropped=0)

    store = FeatureStore.open(root / "s.zarr", writable=True)
    store.add_queries(encoding_name(Config().extract), {query: encoded(query) for query in QUERIES})


def train(config: Config, run: Path | None = None) -> list[EpochReport]:
    paths = config.paths
    return list(training.iter_train(paths.index, paths.store, run or paths.run, config))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, an index and a run of two epochs."""
    root = tmp_path_factory.mktemp("root")
    make_store(root)
    train(config_of(root))
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    return shutil.copytree(root / "run", tmp_path / "run")


@cache
def read_batch(root: Path) -> Batch:
    samples, store = read_index(root / "i.jsonl"), FeatureStore.open(root / "s.zarr")
    queries = store.queries(encoding_name(Config().extract))
    dataset = GroundingDataset(samples, store, queries, max_steps=200, cache_mb=0)
    return collate([dataset[number] for number in range(len(samples))])


def answer(root: Path, run: Path) -> list[Tube]:
    """Predict the tubes of all samples with a run, as evaluation and grounding do."""
    model, _ = load_model(run)
    return [tube for _, tubes in predict(model, [read_batch(root)], "cpu") for tube in tubes]


def is_same(found: list[Tube], expected: list[Tube]) -> bool:
    pairs = list(zip(found, expected, strict=True))
    return all(a.span == b.span and a.score == b.score and np.array_equal(a.boxes, b.boxes) for a, b in pairs)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit config.json and remove the checksums that would reveal the change."""
    content = json.loads(path.read_text())
    content.pop("checksum", None)
    change(content)
    path.write_text(json.dumps(content))


# Damage


def damages(blob: bytes, seed: int) -> Iterator[bytes | None]:
    """Return bit flips over the entire file and in its header, truncations, and a missing file."""
    rng = random.Random(seed)
    places = [rng.randrange(len(blob)) for _ in range(25)] + [rng.randrange(min(len(blob), 400)) for _ in range(15)]
    for place in places:
        yield blob[:place] + bytes([blob[place] ^ (1 << rng.randrange(8))]) + blob[place + 1 :]
    for size in (0, 1, 7, len(blob) // 2, len(blob) - 1):
        yield blob[:size]
    yield blob + b"\0"
    yield bytes(len(blob))
    yield None


@pytest.mark.parametrize("name", FILES)
def test_damage_does_not_change_results(root: Path, run: Path, name: str) -> None:
    expected = answer(root, run)
    log = (run / LOG).read_bytes()
    blob = (run / name).read_bytes()
    refusals: list[str] = []
    for number, damaged in enumerate(damages(blob, seed=len(name))):
        goes_on = number % (10 if damaged and len(damaged) == len(blob) else 3) == 0  # slower than predicting
        for other in FILES:
            shutil.copyfile(root / "run" / other, run / other)
        (run / name).unlink()
        if damaged is not None:
            (run / name).write_bytes(damaged)
        try:
            assert is_same(answer(root, run), expected), number
        except GkcmnError as error:
            refusals.append(str(error))
        # Resuming from it either gives the same result or fails.
        if not goes_on:
            continue
        try:
            assert train(config_of(root), run) == []
            assert is_same(answer(root, run), expected), number
            assert (run / LOG).read_bytes() == log, number
        except CheckpointError as error:
            refusals.append(str(error))
    assert refusals or name == LOG
    assert all(str(run) in line and ";" in line for line in refusals)


def test_damaged_log_is_rejected_and_rewritten(root: Path, run: Path) -> None:
    log = (run / LOG).read_bytes()
    refusals: list[str] = []
    for damaged in damages(log, seed=1):
        if damaged is not None and damaged not in (log, b""):
            (run / LOG).write_bytes(damaged)
            try:
                found = read_log(run)
            except CheckpointError as error:
                refusals.append(str(error))
            else:
                assert found == read_log(root / "run")[: len(damaged.splitlines())]
    assert len(refusals) > 30
    assert all(re.search(r"log\.jsonl:\d: damaged", line) for line in refusals)
    train(config_of(root), run)
    assert (run / LOG).read_bytes() == log


def test_run_resumed_after_damage_matches_an_uninterrupted_run(root: Path, run: Path, tmp_path: Path) -> None:
    whole = train(config_of(root, epochs=3), tmp_path / "whole")
    (run / LOG).write_bytes(b"\xff\xfe")
    (run / WEIGHTS).write_bytes(b"")
    assert train(config_of(root, epochs=3), run) == whole[2:]
    assert (run / LOG).read_bytes() == (tmp_path / "whole" / LOG).read_bytes()
    parts, unbroken = load_file(run / WEIGHTS), load_file(tmp_path / "whole" / WEIGHTS)
    assert all(torch.equal(parts[name], unbroken[name]) for name in unbroken)


def test_mixed_files_of_two_runs_are_rejected(root: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train(config_of(root, seed=1), other)
    for name, cause in ((WEIGHTS, "of another run"), (CONFIG, "of another run")):
        shutil.copyfile(other / name, run / name)
        with pytest.raises(CheckpointError, match=cause):
            load_model(run)
        shutil.copyfile(root / "run" / name, run / name)
    shutil.copyfile(other / TRAINING, run / TRAINING)
    with pytest.raises(CheckpointError, match="training.pt: of another run than config.json"):
        train(config_of(root, epochs=3), run)


def as_before(run: Path) -> None:
    """Rewrite a run in the format of earlier versions: without digests, checksums, run names and reports."""
    edit(run / CONFIG, lambda content: content.pop("run"))
    save_file(load_file(run / WEIGHTS), run / WEIGHTS, {"format": "3"})
    content = torch.load(run / TRAINING, weights_only=True)
    torch.save({"epochs": content["epochs"], "state": content["state"]}, run / TRAINING)
    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    kept = [{name: value for name, value in line.items() if name not in ("skipped", "checksum")} for line in lines]
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_runs_of_earlier_versions_load_and_resume(root: Path, run: Path) -> None:
    expected = answer(root, run)
    before = read_log(run)
    as_before(run)
    assert is_same(answer(root, run), expected)
    assert read_log(run) == before
    with (run / LOG).open("a") as log:
        log.write("{")  # a partial line of an epoch that was not saved
    with pytest.raises(CheckpointError, match="log.jsonl:3: damaged"):
        train(config_of(root, epochs=3), run)
    as_before(shutil.copytree(root / "run", run, dirs_exist_ok=True))
    (report,) = train(config_of(root, epochs=3), run)
    assert report.epoch == 3
    assert "run" in json.loads((run / CONFIG).read_text())
    as_before(shutil.copytree(root / "run", run, dirs_exist_ok=True))
    (run / LOG).write_text("")
    with pytest.raises(CheckpointError, match="log.jsonl: has 0 lines, training.pt has 2 epochs"):
        train(config_of(root, epochs=3), run)


# Malformed files


def set_model(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["config"]["model"].update(values)


CONFIGS: list[tuple[bytes | Callable[[dict[str, Any]], object], str]] = [
    (b"3", "names no checkpoint format"),
    (b"\xff{}", "damaged"),
    (b'{"a":' * 100_000, "nested too deeply"),
    (b'{"format": NaN}', "NaN is not JSON"),
    (b'{"format": 3}', "config"),
    (lambda content: content.update(format=[]), "names no checkpoint format"),
    (lambda content: content.update(format=2), "checkpoint format 2"),
    (lambda content: content.update(config=5), "config: "),
    (lambda content: content.update(features=[1]), "features: "),
    (lambda content: content.update(encoding=["x"]), "encoding: "),
    (lambda content: content.update(samples=None), "samples: "),
    (lambda content: content.update(extra=1), "extra: "),
    (lambda content: content["config"].update(model=7), "model is a section"),
    (lambda content: content["config"]["train"].update(novel=7), "unknown key train.novel"),
    (set_model(fused_width="wide"), "fused_width"),
    (set_model(fused_width=10**9), "fused_width must be at least 4 and at most"),
    (set_model(fused_width=-4), "fused_width must be at least 4 and at most"),
    (set_model(heatmap_size=10**9), "heatmap_size must be"),
    (set_model(attention_layers=10**9), "attention_layers must be"),
    (set_model(loss_weights=[1, 2, 3, 10**400]), "loss_weights"),
    (set_model(sentence_width=65536, fused_width=65536, visual_width=65536), "over the limit"),
    (set_model(sentence_width=1024), "has the shape"),
    (set_model(architecture="baseline"), "is missing"),
]


@pytest.mark.parametrize(("change", "cause"), CONFIGS)
def test_malformed_configuration_gives_one_line(
    run: Path, change: bytes | Callable[[dict[str, Any]], object], cause: str
) -> None:
    if isinstance(change, bytes):
        (run / CONFIG).write_bytes(change)
    else:
        edit(run / CONFIG, change)
    with pytest.raises(CheckpointError, match=re.escape(cause)) as caught:
        load_model(run)
    assert str(run) in str(caught.value)
    assert ";" in str(caught.value)


def test_edited_configuration_is_detected(run: Path) -> None:
    content = json.loads((run / CONFIG).read_text())
    content["config"]["model"]["focal_gamma"] = 0.7
    (run / CONFIG).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="checksum does not match"):
        load_settings(run)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda weights: weights.pop(next(iter(weights))), "is missing"),
        (lambda weights: weights.update(more=torch.zeros(1)), "more is no part of the model"),
        (lambda weights: weights.update({"video.project.bias": torch.zeros(4).half()}), "torch.float16"),
        (lambda weights: weights.update({"video.project.bias": torch.zeros(5)}), "has the shape"),
        (lambda weights: weights["video.project.bias"].fill_(torch.nan), "not finite: its training had diverged"),
    ],
)
def test_malformed_weights_give_one_line(run: Path, change: Callable[[Any], object], cause: str) -> None:
    weights = load_file(run / WEIGHTS)
    change(weights)
    save_file(weights, run / WEIGHTS)
    with pytest.raises(CheckpointError, match=cause):
        load_model(run)


@pytest.mark.parametrize(
    "blob",
    [b"", b"x" * 99, struct.pack("<Q", 10**12) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 4) + b"null"],
)
def test_malformed_weights_file_gives_one_line(run: Path, blob: bytes) -> None:
    (run / WEIGHTS).write_bytes(blob)
    with pytest.raises(CheckpointError, match="damaged.*write it again from training.pt"):
        load_model(run)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"epochs": -1, "state": {}},
        {"epochs": "two", "state": {}},
        {"epochs": True, "state": {}},
        {"epochs": 1},
        {"epochs": 1, "state": {"model": {}, "optimiser": {}, "schedule": 3}},
        {"epochs": 1, "state": {"model": {"a": 3}, "optimiser": {}, "schedule": {}}},
        {"epochs": 1, "state": {"model": {}, "optimiser": {}, "schedule": {}}, "reports": []},
        {"epochs": 1, "state": {"model": {}, "optimiser": {}, "schedule": {}}, "reports": [{"epoch": 1}]},
        {"epochs": 2, "state": {"model": {}, "optimiser": {}, "schedule": {}}},
        {"epochs": 2, "state": {"model": {"a": torch.tensor([torch.inf])}, "optimiser": {}, "schedule": {}}},
    ],
)
def test_malformed_training_state_gives_one_line(root: Path, run: Path, content: object) -> None:
    torch.save(content, run / TRAINING)
    with pytest.raises(CheckpointError, match=TRAINING) as caught:
        train(config_of(root, epochs=3), run)
    assert ";" in str(caught.value)


def test_swapped_folders_and_files_are_rejected(root: Path, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(file)
    with pytest.raises(GkcmnError, match="cannot be written"):
        train(config_of(root), file)
    for name in (CONFIG, WEIGHTS):
        (run / name).unlink()
        (run / name).mkdir()
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_model(run)
    (run / TRAINING).unlink()
    (run / TRAINING).mkdir()
    with pytest.raises(CheckpointError, match="training.pt: cannot be read"):
        train(config_of(root), run)


# Divergence


def test_diverging_run_ends_with_one_line_and_keeps_the_last_epoch(root: Path, tmp_path: Path) -> None:
    args = ["--store", str(root / "s.zarr"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    sets = ["model.fused_width=16", "model.sentence_width=16", "train.learning_rate=1e6", "train.batch_size=2"]
    result = CliRunner().invoke(
        main, ["train", str(root / "i.jsonl"), *args, *(word for key in sets for word in ("--set", key))]
    )
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert re.match(r"Error: .*/run: training diverged in epoch \d+ at (step \d+ of 3|its end): .*(kept|saved); ", line)
    assert "lower train.learning_rate (now 1e+06)" in line
    for path in tmp_path.rglob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(path).values())


def break_steps(monkeypatch: pytest.MonkeyPatch, steps: set[int], value: float, *, gradient: bool = False) -> None:
    """Make the total loss, or only its gradient, non-finite in some updates (counted from 1)."""
    count = 0

    def broken_model(config: ModelConfig) -> Any:
        model = build_model(config)
        losses = model.losses

        def broken_losses(*args: Any) -> Any:
            nonlocal count
            count += 1
            found = losses(*args)
            if count not in steps:
                return found
            if gradient:
                poison = found.total - found.total.detach()
                return replace(found, total=found.total + torch.sqrt(poison.abs()) * 0)
            return replace(found, total=found.total * 0 + value)

        monkeypatch.setattr(model, "losses", broken_losses)
        return model

    monkeypatch.setattr("pipeline.training.trainer.build_model", broken_model)


@pytest.mark.parametrize(("value", "gradient"), [(torch.nan, False), (torch.inf, False), (0.0, True)])
def test_non_finite_update_is_skipped_and_counted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, gradient: bool
) -> None:
    monkeypatch.setattr("pipeline.training.divergence.SHARE", 0.5)
    break_steps(monkeypatch, {2}, value, gradient=gradient)
    first, second = train(config_of(root, epochs=2), tmp_path / "run")
    assert (first.skipped, second.skipped) == (1, 0)
    assert np.isfinite(first.total)
    assert [json.loads(line)["skipped"] for line in (tmp_path / "run" / LOG).read_text().splitlines()] == [1, 0]
    state = load_archive(tmp_path / "run" / TRAINING)["state"]
    assert state["schedule"]["last_epoch"] == 3  # three of four steps
    assert {int(part["step"]) for part in state["optimiser"]["state"].values()} == {3}


def test_too_many_skipped_updates_end_training_and_keep_the_last_good_epoch(
    root: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answer(root, run)
    break_steps(monkeypatch, {2}, torch.nan)
    with pytest.raises(TrainingError) as caught:
        train(config_of(root, epochs=4), run)
    assert str(caught.value) == (
        f"{run}: training diverged in epoch 3 at step 2 of 2: the loss is not finite (total); skipped so far: "
        "1 of 2; the checkpoint of epoch 2 is kept; train into another folder with a lower train.learning_rate "
        "(now 0.001) or train.clip_norm (now 1)"
    )
    assert is_same(answer(root, run), expected)
    monkeypatch.undo()
    assert [report.epoch for report in train(config_of(root, epochs=4), run)] == [3, 4]


def test_few_consecutive_skipped_updates_end_training(tmp_path: Path) -> None:
    check = DivergenceCheck(tmp_path, TrainConfig(), [])
    check.begin_epoch()
    for step in range(1, IN_A_ROW):
        check.skip(step, 1000, {"total": 1.0})
    check.take()
    for step in range(1, IN_A_ROW):
        check.skip(step, 1000, {"total": 1.0})
    with pytest.raises(TrainingError, match=r"step 9 of 1000: the gradient is not finite; skipped so far: 9 of 1000"):
        check.skip(9, 1000, {"total": 1.0})


@pytest.mark.parametrize(
    ("total", "weights", "cause"),
    [(1e5, 0.0, "the loss grew from 2 to 1e"), (1.0, torch.inf, "model.a is not finite"), (1.0, 0.0, None)],
)
def test_failed_epoch_is_not_saved(tmp_path: Path, total: float, weights: float, cause: str | None) -> None:
    check = DivergenceCheck(tmp_path, TrainConfig(), [])
    report = EpochReport(epoch=1, losses={}, total=total, learning_rate=1.0)
    state = {"model": {"a": torch.tensor([weights])}, "optimiser": {"state": {0: {"step": torch.tensor(1.0)}}}}
    if cause is None:
        check.end_epoch(report, 2.0, state)
        assert check.reports == [report]
    else:
        with pytest.raises(TrainingError, match=f"epoch 1 at its end: {cause}.*no epoch was saved"):
            check.end_epoch(report, 2.0, state)


@pytest.mark.parametrize(("size", "total"), [(math.inf, 1.0), (math.nan, 1.0), (1.0, math.nan)])
def test_a_mean_loss_that_is_not_finite_is_not_saved(tmp_path: Path, size: float, total: float) -> None:
    check = DivergenceCheck(tmp_path, TrainConfig(), [])
    report = EpochReport(epoch=1, losses={"size": size}, total=total, learning_rate=1.0)
    wrong = "total" if size == 1.0 else "size"
    with pytest.raises(
        TrainingError, match=rf"at its end: the mean loss is not finite \({wrong}\); no epoch was saved"
    ):
        check.end_epoch(report, 1.0, {})
    assert check.reports == []


def test_non_finite_features_and_words_are_reported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = GroundingDataset._video

    def spoilt(self: GroundingDataset, key: str, layout: Any) -> Any:
        video = fetch(self, key, layout)
        return replace(video, i3d=np.where(key == "1.mp4", np.float16(np.nan), video.i3d))

    monkeypatch.setattr(GroundingDataset, "_video", spoilt)
    with pytest.raises(StoreError, match=r"s\.zarr: features of '1\.mp4' hold values that are not finite; "):
        train(config_of(root), tmp_path / "run")
    monkeypatch.undo()
    batch = read_batch(root)
    features = batch.inputs.features.clone()
    features[3:, 3] = torch.nan  # the samples of 1.mp4
    spoilt_batch = replace(batch, inputs=replace(batch.inputs, features=features))
    with pytest.raises(PredictionError, match=r"1\.mp4: the model's answer is not finite"):
        list(predict(load_model(root / "run")[0], [spoilt_batch], "cpu"))
    words = {"a": np.full((1, 6), np.nan, np.float32)}
    query = EncodedQuery(words=("a",), vectors=words["a"], unknown=(), dropped=0)
    with pytest.raises(StoreError, match="the vector of the word 'a' holds values that are not finite"):
        training._vocabulary([query], "s.zarr")


def test_oversized_model_is_rejected_before_allocation(root: Path, tmp_path: Path) -> None:
    config = config_of(root)
    wide = replace(config, model=replace(config.model, fused_width=65536, sentence_width=65536))
    with pytest.raises(ConfigError, match="parameters, over the limit"):
        train(wide, tmp_path / "run")


# Losses by name


@pytest.mark.parametrize(
    ("architecture", "names"),
    [("gkcmn", ["location", "size", "confidence", "boundary"]), ("baseline", ["L1", "GIoU", "start", "end"])],
)
def test_losses_are_named_per_model(root: Path, tmp_path: Path, architecture: str, names: list[str]) -> None:
    args = ["--store", str(root / "s.zarr"), "--out", str(tmp_path / "run"), "--device", "cpu", "--epochs", "1"]
    result = CliRunner().invoke(
        main, ["train", str(root / "i.jsonl"), *args, "--set", f"model.architecture={architecture}"]
    )
    assert result.exit_code == 0, result.output
    (line,) = re.findall(r"^epoch +1  loss [\d.]+  \((.*)\)$", result.stdout, flags=re.MULTILINE)
    assert re.findall(r"(\w+) [\d.]+", line) == names
    (logged,) = [json.loads(text) for text in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert list(logged) == ["epoch", *names, "total", "learning_rate", "skipped", "checksum"]


# Other weights files


def test_tensors_are_stored_with_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3).bfloat16(), "c": torch.empty(0)}
    save_tensors(path, tensors, {"of": "x"})
    found, metadata = load_tensors(path)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert metadata["of"] == "x"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    with pytest.raises(ValueError, match="digest"):
        load_tensors(path)


def test_damaged_cached_word_vectors_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound, damaged = tmp_path / "sound.pt", tmp_path / "damaged.pt"
    torch.save(torch.zeros(999), sound)
    blob = bytearray(sound.read_bytes())
    blob[len(blob) // 2] ^= 1
    damaged.write_bytes(blob)
    drop_damaged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sound.pt"]
    assert "damaged.pt: kept word vectors are damaged" in caplog.text


def test_modified_packaged_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"x")
    with pytest.raises(WeightsError, match="its SHA-256 is .*, not 00; reinstall"):
        check_sha256(path, "00", "reinstall")


def test_pretrained_checkpoint_has_checksums() -> None:
    _, metadata = load_tensors(SHIPPED / WEIGHTS)
    content = json.loads((SHIPPED / CONFIG).read_text())
    assert {"digest", "run", "epochs", "format"} == set(metadata)
    assert content["run"] == metadata["run"]
    assert "checksum" in content


# The environment


def test_accelerate_environment_variables_do_not_change_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MIXED_PRECISION", "bf16"), ("GRADIENT_ACCUMULATION_STEPS", "4")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    train(config_of(root), tmp_path / "run")
    assert (tmp_path / "run" / LOG).read_bytes() == (root / "run" / LOG).read_bytes()
