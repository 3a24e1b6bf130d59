"""Run a trained model on every sample of an index and score its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from extract.store.feature_store import FeatureStore
from pipeline.checkpoint import Use, load_model
from pipeline.console.score_figure import write_figure
from pipeline.data.dataset import GroundingDataset, collate
from pipeline.data.index import of_split, read_index, train_samples
from pipeline.data.queries import ensure_queries
from pipeline.device import resolve_device
from pipeline.evaluation.predictions import tube_prediction, write_predictions
from pipeline.evaluation.protocols import Protocol
from pipeline.evaluation.report import write_report
from pipeline.evaluation.score import THRESHOLDS, Report, score
from pipeline.inference.predict import check_encoding, check_features, labeled, predict
from pipeline.types import Sample, Tube


def evaluate(
    run: str | Path,
    index: str | Path,
    store: str | Path,
    *,
    device: str = "auto",
    out: str | Path | None = None,
    split: str | None = None,
    protocol: Protocol = "frames",
    temporal_gt: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
    batch_size: int = 16,
    use: Use = "last",
    on_batch: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Predict and score every sample, and write predictions.jsonl, scores.json and scores.png into `out`.

    Args:
        run: folder of a training run.
        index: labeled samples, Parquet or JSON lines.
        store: path or URL of the feature store.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: folder for the results; None uses the run's subfolder `evaluation`.
        split: evaluate only the samples of this split; None evaluates all.
        protocol: which frames a score compares; see docs/protocols.md.
        temporal_gt: predict boxes over the true span and score only these (the paper's Table 2).
        thresholds: values of R in vIoU@R, in [0, 1].
        batch_size: number of samples in a batch; does not affect the results.
        use: "last" for the weights of the run's last epoch, "best" for those of its best epoch by validation.
        on_batch: called with the number of batches done and the total.

    Raises:
        GkcmnError: an input is missing, damaged or incompatible; the message gives it.
    """
    run, index = Path(run), Path(index)
    out = run / "evaluation" if out is None else Path(out)
    model, settings = load_model(run, use)
    everything = read_index(index)
    features = FeatureStore.open(store)
    check_features(settings, features, run)
    check_encoding(settings, run)
    samples = with_facts(of_split(everything, split, index), features)
    queries = ensure_queries((sample.query for sample in samples), str(store), settings.config.extract).queries
    sizes = settings.config.model
    dataset = GroundingDataset(
        samples,
        features,
        queries,
        max_steps=sizes.max_steps,
        channels=sizes.feature_channels,
        cache_mb=0,
        index=index,
    )
    # The loader yields Batch, but torch's type stubs ignore the collate function's return type.
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch_size, collate_fn=collate)
    results: list[tuple[Sample, Tube]] = []
    for number, (batch, tubes) in enumerate(
        predict(model, loader, resolve_device(device), true_spans=temporal_gt), start=1
    ):
        results += labeled(batch, tubes)
        on_batch(number, len(loader))
    report = score(
        samples,
        {sample.id: tube_prediction(sample, tube) for sample, tube in results},
        protocol=protocol,
        temporal_gt=temporal_gt,
        thresholds=thresholds,
        train=with_facts(train_samples(everything), features),
    )
    write_predictions(out / "predictions.jsonl", results)
    write_report(out / "scores.json", report, predictions=str(out / "predictions.jsonl"), index=str(index))
    write_figure(out / "scores.png", report)
    return report


def with_facts(samples: Sequence[Sample], store: FeatureStore) -> list[Sample]:
    """Return the samples with size, frame count and frame rate from the feature store.

    A size from the index is kept, because `GroundingDataset` rejects a size that differs from the store's. Samples of
    videos that are missing from the store are returned unchanged.

    Args:
        samples: samples of an index.
        store: an open feature store.
    """
    records = {key: store.record(key) for key in {sample.video for sample in samples}}
    return [
        sample
        if (record := records[sample.video]) is None
        else replace(
            sample,
            size=sample.size or (record.width, record.height),
            frame_count=record.frame_count,
            fps=record.fps,
        )
        for sample in samples
    ]
