"""Evaluation: a run's tubes for every sample of an index, and their agreement with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from extract.store import FeatureStore
from model.grounder import Answer, Grounder
from pipeline.checkpoint import RunSettings, load_model
from pipeline.dataset import Batch, GroundingDataset, collate
from pipeline.decode import decode_tubes
from pipeline.device import resolve_device
from pipeline.errors import CheckpointError, PredictionError
from pipeline.figure import write_figure
from pipeline.index import of_split, read_index, train_samples
from pipeline.predictions import tube_prediction, write_predictions
from pipeline.protocols import Protocol
from pipeline.queries import can_stand_for, encoding_name, ensure_queries
from pipeline.report import write_report
from pipeline.score import THRESHOLDS, Report, score
from pipeline.types import Sample, Tube


def evaluate(
    run: Path,
    index: Path,
    store_place: str,
    *,
    device: str,
    out: Path,
    split: str | None = None,
    protocol: Protocol = "frames",
    temporal_gt: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
    batch_size: int = 16,
    on_batch: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Predict and score every sample; write predictions.jsonl, scores.json and scores.png into `out`.

    Args:
        run: a trained run's folder.
        index: labelled samples.
        store_place: their features.
        device: as `pipeline.device.resolve_device` takes it.
        out: folder for the results.
        split: only samples of this split.
        protocol: see `pipeline.score.score`.
        temporal_gt: predict boxes over the true span, and compare nothing else.
        thresholds: R of vIoU@R.
        batch_size: samples at once; does not change a result.
        on_batch: called with the batches done and in all.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    model, settings = load_model(run)
    everything = read_index(index)
    store = FeatureStore.open(store_place)
    check_features(settings, store, run)
    check_encoding(settings, run)
    samples = with_facts(of_split(everything, split, index), store)
    queries = ensure_queries((sample.query for sample in samples), store_place, settings.config.extract).queries
    sizes = settings.config.model
    dataset = GroundingDataset(
        samples, store, queries, max_steps=sizes.max_steps, channels=sizes.feature_channels, cache_mb=0
    )
    # Typed by its collate function's result, which torch's own stubs do not follow.
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch_size, collate_fn=collate)
    results: list[tuple[Sample, Tube]] = []
    for number, (batch, tubes) in enumerate(
        predict(model, loader, resolve_device(device), true_spans=temporal_gt), start=1
    ):
        for example, tube in zip(batch.examples, tubes, strict=True):
            assert example.sample is not None
            results.append((example.sample, tube))
        on_batch(number, len(loader))
    report = score(
        samples,
        {sample.id: tube_prediction(sample, tube) for sample, tube in results},
        protocol=protocol,
        temporal_gt=temporal_gt,
        thresholds=thresholds,
        train=with_facts(train_samples(everything), store),
    )
    write_predictions(out / "predictions.jsonl", results)
    write_report(out / "scores.json", report, predictions=str(out / "predictions.jsonl"), index=str(index))
    write_figure(out / "scores.png", report)
    return report


def with_facts(samples: Sequence[Sample], store: FeatureStore) -> list[Sample]:
    """Samples with what a store knows of their videos; those of videos that it lacks stay as they are."""
    records = {key: store.record(key) for key in {sample.video for sample in samples}}
    return [
        sample
        if (record := records[sample.video]) is None
        else replace(sample, size=(record.width, record.height), frame_count=record.frame_count, fps=record.fps)
        for sample in samples
    ]


def predict(
    model: Grounder[Any], batches: Iterable[Batch], device: str, *, true_spans: bool = False
) -> Iterator[tuple[Batch, list[Tube]]]:
    """Run a model over batches, and decode each: one tube an example, over its true span if that is asked for.

    Raises PredictionError if an answer is not finite.
    """
    model = model.to(device)
    for batch in batches:
        with torch.inference_mode():
            inputs = batch.inputs.to(torch.device(device))
            spans = batch.target.span.to(torch.device(device)) if true_spans and batch.target is not None else None
            answer = model.answer(model(inputs), inputs.step_mask.sum(dim=1), spans)
        _check_finite(answer, batch)
        yield batch, decode_tubes(answer, batch, true_spans=true_spans)


def _check_finite(answer: Answer, batch: Batch) -> None:
    """Raise PredictionError unless an answer is finite: a model's weights are, so what was read is not."""
    finite = answer.scores.isfinite() & answer.boxes.isfinite().flatten(1).all(dim=1)
    for example, is_finite in zip(batch.examples, finite.tolist(), strict=True):
        if not is_finite:
            raise PredictionError(
                f"{example.record.key}: the model's answer is not finite, so the features or the word vectors are not; "
                "mend the store with: gkcmn-pipe verify --repair"
            )


def differing_settings(settings: RunSettings, store: FeatureStore) -> list[str]:
    """What a store was made with otherwise than the one a run learnt from."""
    return sorted(name for name, value in settings.features.items() if store.settings.get(name) != value)


def check_encoding(settings: RunSettings, run: Path) -> None:
    """Refuse word vectors whose file has changed since a run learnt from them. Raises CheckpointError."""
    now = encoding_name(settings.config.extract)
    if not can_stand_for(now, settings.encoding):
        raise CheckpointError(f"{run}: learnt from the word vectors {settings.encoding!r}, not {now!r}; restore them")


def check_features(settings: RunSettings, store: FeatureStore, run: Path) -> None:
    """Refuse a store that was made otherwise than the one a run learnt from. Raises CheckpointError."""
    if differing := differing_settings(settings, store):
        raise CheckpointError(
            f"{run}: learnt from features with another {', '.join(differing)} than those of {store.place}; "
            "use a store made with the run's settings"
        )
