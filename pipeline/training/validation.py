"""Score a model on a validation split during training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from extract.store.feature_store import FeatureStore
from model.base import Grounder
from pipeline.config import Config
from pipeline.data.dataset import GroundingDataset, collate
from pipeline.data.queries import ensure_queries
from pipeline.evaluation.evaluate import with_facts
from pipeline.evaluation.predictions import tube_prediction
from pipeline.evaluation.score import score
from pipeline.inference.predict import labeled, predict
from pipeline.types import Prediction, Sample

METRICS = ("m_tIoU", "m_vIoU")
"""Metrics that are computed after each epoch. The model predicts the spans; it does not receive the true ones."""


class Validation:
    """Predicts and scores the samples of one split. It does not advance torch's global random generator."""

    def __init__(
        self, samples: Sequence[Sample], store: FeatureStore, store_place: str, config: Config, *, index: Path
    ) -> None:
        """Encode the queries of the split if the store does not have them.

        Args:
            samples: the samples of the split; at least one.
            store: store that holds the features of the split's videos.
            store_place: path or URL of that store.
            config: settings of the run; `config.model` must contain the store's channels and the size of a word vector.
            index: file of the samples, for messages.

        Raises:
            AnnotationError: the store lacks one of the videos, or a sample does not fit its video.
        """
        self._samples = with_facts(samples, store)
        queries = ensure_queries((sample.query for sample in self._samples), store_place, config.extract).queries
        dataset = GroundingDataset(
            self._samples,
            store,
            queries,
            max_steps=config.model.max_steps,
            channels=config.model.feature_channels,
            cache_mb=0,
            index=index,
        )
        # Without a generator of its own, the loader would take a seed from the global one and so change training.
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=config.train.batch_size, collate_fn=collate, generator=torch.Generator()
        )

    def scores(self, model: Grounder[Any], device: str) -> dict[str, float]:
        """Score a model in evaluation mode, then restore its previous mode.

        Args:
            model: the model, not wrapped for several processes.
            device: torch device of the model, for example "cpu" or "cuda:0".

        Returns:
            METRICS in [0, 1], without metrics that are undefined for every sample of the split.

        Raises:
            PredictionError: an output of the model is not finite.
        """
        was_training = model.training
        model.eval()
        predictions: dict[str, Prediction] = {}
        try:
            for batch, tubes in predict(model, self._loader, device):
                predictions |= {sample.id: tube_prediction(sample, tube) for sample, tube in labeled(batch, tubes)}
        finally:
            model.train(was_training)
        metrics = score(self._samples, predictions).whole.metrics
        return {name: metrics[name].mean for name in METRICS if math.isfinite(metrics[name].mean)}
