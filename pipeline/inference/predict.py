"""Run a trained model on batches, and check that features and word vectors match the ones it was trained with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from extract.store.feature_store import FeatureStore
from model.base import Answer, Grounder
from pipeline.checkpoint import RunSettings
from pipeline.data.dataset import Batch
from pipeline.data.queries import can_stand_for, encoding_name
from pipeline.errors import CheckpointError, PredictionError
from pipeline.inference.tubes import decode_tubes
from pipeline.types import Sample, Tube


def predict(
    model: Grounder[Any], batches: Iterable[Batch], device: str, *, true_spans: bool = False
) -> Iterator[tuple[Batch, list[Tube]]]:
    """Run a model on batches and yield each batch with one tube per example.

    Args:
        model: in evaluation mode; it is moved to `device`.
        batches: collated examples.
        device: torch device, such as "cpu" or "cuda:0".
        true_spans: predict boxes over the true span of each example that has one, instead of predicting the span.

    Raises:
        PredictionError: the model's output is not finite.
    """
    model = model.to(device)
    for batch in batches:
        with torch.inference_mode():
            inputs = batch.inputs.to(torch.device(device))
            spans = batch.target.span.to(torch.device(device)) if true_spans and batch.target is not None else None
            answer = model.answer(model(inputs), inputs.step_mask.sum(dim=1), spans)
        _check_finite(answer, batch)
        yield batch, decode_tubes(answer, batch, true_spans=true_spans)


def labeled(batch: Batch, tubes: Sequence[Tube]) -> Iterator[tuple[Sample, Tube]]:
    """Yield each sample of a batch with its tube.

    Args:
        batch: a batch of labeled samples.
        tubes: the tubes that `predict` yielded with this batch.
    """
    for example, tube in zip(batch.examples, tubes, strict=True):
        assert example.sample is not None
        yield example.sample, tube


def _check_finite(answer: Answer, batch: Batch) -> None:
    """Raise PredictionError unless the output is finite. The weights are, so the cause must be the input."""
    finite = answer.scores.isfinite() & answer.boxes.isfinite().flatten(1).all(dim=1)
    for example, is_finite in zip(batch.examples, finite.tolist(), strict=True):
        if not is_finite:
            raise PredictionError(
                f"{example.record.key}: the model's answer is not finite, so the features or the word vectors are not; "
                "mend the store with: gkcmn-pipe verify --repair"
            )


def differing_settings(settings: RunSettings, store: FeatureStore) -> list[str]:
    """Return the names of the extraction settings in which a store differs from the one a run was trained with.

    Args:
        settings: settings of the run.
        store: the feature store to check.
    """
    return sorted(name for name, value in settings.features.items() if store.settings.get(name) != value)


def check_encoding(settings: RunSettings, run: Path) -> None:
    """Check that the word vectors are the ones that a run was trained with.

    Args:
        settings: settings of the run.
        run: folder of the run, for error messages.

    Raises:
        CheckpointError: the word vectors differ, for example because their file has changed.
        MissingInputError: the file of word vectors does not exist.
    """
    now = encoding_name(settings.config.extract)
    if not can_stand_for(now, settings.encoding):
        raise CheckpointError(f"{run}: learnt from the word vectors {settings.encoding!r}, not {now!r}; restore them")


def check_features(settings: RunSettings, store: FeatureStore, run: Path) -> None:
    """Check that a store has the extraction settings that a run was trained with.

    Args:
        settings: settings of the run.
        store: the feature store to check.
        run: folder of the run, for error messages.

    Raises:
        CheckpointError: a setting differs.
    """
    if differing := differing_settings(settings, store):
        raise CheckpointError(
            f"{run}: learnt from features with another {', '.join(differing)} than those of {store.place}; "
            "use a store made with the run's settings"
        )
