"""Evaluation: a run's tubes for every sample of an index, and their agreement with the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from extract.files import write_text
from extract.store import FeatureStore
from model.gkcmn import Gkcmn
from pipeline.annotations import read_index
from pipeline.checkpoint import RunSettings, load_model
from pipeline.dataset import Batch, GroundingDataset, collate
from pipeline.decode import decode_tubes
from pipeline.device import resolve_device
from pipeline.errors import CheckpointError
from pipeline.metrics import SampleScore, Scores, mean_scores, score_sample
from pipeline.queries import encoding_name, ensure_queries
from pipeline.types import Sample, Tube


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores over an index, whole and by kind of sentence."""

    scores: Scores
    by_kind: dict[str, Scores]


def evaluate(
    run: Path,
    index: Path,
    store_place: str,
    *,
    device: str,
    out: Path,
    split: str | None = None,
    batch_size: int = 16,
    on_batch: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Predict and score every sample; write predictions.jsonl and scores.json into `out`.

    Args:
        run: a trained run's folder.
        index: labelled samples.
        store_place: their features.
        device: as `pipeline.device.resolve_device` takes it.
        out: folder for the results.
        split: only samples of this split.
        batch_size: samples at once; does not change a result.
        on_batch: called with the batches done and in all.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    model, settings = load_model(run)
    samples = read_index(index, split=split)
    store = FeatureStore.open(store_place)
    check_features(settings, store, run)
    check_encoding(settings, run)
    queries = ensure_queries((sample.query for sample in samples), store_place, settings.config.extract).queries
    dataset = GroundingDataset(samples, store, queries, max_steps=settings.config.model.max_steps, cache_mb=0)
    # Typed by its collate function's result, which torch's own stubs do not follow.
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch_size, collate_fn=collate)
    results: list[tuple[Sample, Tube, SampleScore]] = []
    for number, (batch, tubes) in enumerate(predict(model, loader, resolve_device(device)), start=1):
        for example, tube in zip(batch.examples, tubes, strict=True):
            assert example.sample is not None
            results.append((example.sample, tube, score_sample(tube, example.sample)))
        on_batch(number, len(loader))
    evaluation = Evaluation(
        scores=mean_scores([score for *_, score in results]),
        by_kind={
            kind: mean_scores([score for sample, _, score in results if sample.kind == kind])
            for kind in sorted({sample.kind for sample, *_ in results})
        },
    )
    write_text(out / "predictions.jsonl", "".join(_line(*result) for result in results))
    values = {
        "run": str(run),
        "index": str(index),
        "all": evaluation.scores.values(),
        **{kind: scores.values() for kind, scores in evaluation.by_kind.items()},
    }
    write_text(out / "scores.json", json.dumps(values, indent=2) + "\n")
    return evaluation


def predict(model: Gkcmn, batches: Iterable[Batch], device: str) -> Iterator[tuple[Batch, list[Tube]]]:
    """Run a model over batches, and decode each: one tube an example."""
    model = model.to(device)
    for batch in batches:
        with torch.inference_mode():
            output = model(batch.inputs.to(torch.device(device)))
        yield batch, decode_tubes(output, batch, model.config)


def differing_settings(settings: RunSettings, store: FeatureStore) -> list[str]:
    """What a store was made with otherwise than the one a run learnt from."""
    return sorted(name for name, value in settings.features.items() if store.settings.get(name) != value)


def check_encoding(settings: RunSettings, run: Path) -> None:
    """Refuse word vectors whose file has changed since a run learnt from them. Raises CheckpointError."""
    now = encoding_name(settings.config.extract)
    if now != settings.encoding:
        raise CheckpointError(f"{run}: learnt from the word vectors {settings.encoding!r}, not {now!r}; restore them")


def check_features(settings: RunSettings, store: FeatureStore, run: Path) -> None:
    """Refuse a store that was made otherwise than the one a run learnt from. Raises CheckpointError."""
    if differing := differing_settings(settings, store):
        raise CheckpointError(
            f"{run}: learnt from features with another {', '.join(differing)} than those of {store.place}; "
            "use a store made with the run's settings"
        )


def _line(sample: Sample, tube: Tube, score: SampleScore) -> str:
    content = {
        "id": sample.id,
        "span": tube.span,
        "boxes": tube.boxes.round(2).tolist(),
        "score": round(tube.score, 4),
        "tIoU": round(score.tiou, 4),
        "vIoU": round(score.viou, 4),
    }
    return json.dumps(content) + "\n"
