"""Scores of a model on a validation split while it is trained."""

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
"""Metrics that are computed after each epoch. The true spans are not given to the model."""


class Validation:
    """Predicts and scores the samples of one split. It draws no random numbers from torch's global generator."""

    def __init__(
        self, samples: Sequence[Sample], store: FeatureStore, store_place: str, config: Config, *, index: Path
    ) -> None:
        """Encode the queries of the split if the store does not have them.

        Args:
            samples: the samples of the split; at least one.
            store: store that holds the features of the split's videos.
            store_place: path or URL of that store.
            config: settings of the run; `config.model` must hold the store's channels and the size of a word vector.
            index: file of the samples, which messages name.

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
        # Its own generator: a loader without one takes its seed from the global generator, which training uses.
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=config.train.batch_size, collate_fn=collate, generator=torch.Generator()
        )

    def scores(self, model: Grounder[Any], device: str) -> dict[str, float]:
        """Score a model in evaluation mode, and return it to the mode it was in.

        Args:
            model: the model, not wrapped for several processes.
            device: torch device of the model, as "cpu" or "cuda:0".

        Returns:
            METRICS in [0, 1]; a metric that no sample of the split defines is left out.

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
