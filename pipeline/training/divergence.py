"""Detect that training has diverged: non-finite losses, gradients or weights, or a loss that has grown too far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from extract.errors import StoreError
from pipeline.checkpoint import not_finite
from pipeline.config import TrainConfig
from pipeline.data.dataset import Batch
from pipeline.errors import TrainingError
from pipeline.training.run_log import EpochReport

IN_A_ROW = 5
"""Number of consecutive skipped steps that ends training."""
SHARE = 0.1
"""Maximum fraction of an epoch's steps that may be skipped."""
GROWTH = 1000.0
"""Maximum ratio of an epoch's mean loss to the first loss of the run; normal training stays far below it."""


class DivergenceCheck:
    """Counts skipped steps and ends training once it has diverged.

    Under torchrun all processes see the same counts and mean losses, so that all of them end training at the same step.
    """

    def __init__(self, run: Path, config: TrainConfig, reports: Iterable[EpochReport]) -> None:
        """Start from the current state of a run.

        Args:
            run: folder of the run, for messages.
            config: settings of the run, for messages.
            reports: reports of the completed epochs.
        """
        self._run = run
        self._config = config
        self._reports = list(reports)
        self.skipped = 0
        """Number of skipped steps in the current epoch."""
        self._row = 0

    @property
    def reports(self) -> Sequence[EpochReport]:
        """Reports of all epochs that passed the check."""
        return self._reports

    def add_validation(self, scores: Mapping[str, float]) -> EpochReport:
        """Add validation scores to the report of the last epoch.

        Args:
            scores: scores in [0, 1] by metric.

        Returns:
            The report with the scores.
        """
        self._reports[-1] = replace(self._reports[-1], validation=dict(scores))
        return self._reports[-1]

    def begin_epoch(self) -> None:
        """Reset the counts at the start of an epoch."""
        self.skipped = self._row = 0

    def take(self) -> None:
        """Record that the optimizer made a step."""
        self._row = 0

    def skip(self, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Record a step that was skipped because its loss or gradient is not finite.

        Args:
            step: number of the step in the current epoch, from 1.
            steps: number of steps in the epoch.
            losses: the parts of the loss and their total, by name, in this process.

        Raises:
            TrainingError: IN_A_ROW consecutive steps, or more than SHARE of the epoch's steps, were skipped.
        """
        self.skipped += 1
        self._row += 1
        if self._row < IN_A_ROW and self.skipped <= SHARE * steps:
            return
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        what = f"the loss is not finite ({', '.join(wrong)})" if wrong else "the gradient is not finite"
        self._end(f"step {step} of {steps}", f"{what}; skipped so far: {self.skipped} of {steps}")

    def end_epoch(self, report: EpochReport, first_loss: float, state: Mapping[str, Any]) -> None:
        """Check an epoch before it is saved.

        Args:
            report: report of the epoch.
            first_loss: total loss of the epoch's first step; used only in the first epoch of the run.
            state: state of the model, optimizer and schedule that is about to be saved.

        Raises:
            TrainingError: a number in the report or the state is not finite, or the loss has grown by more than GROWTH.
        """
        if wrong := [name for name, value in report.values.items() if not math.isfinite(value)]:
            self._end("its end", f"the mean loss is not finite ({', '.join(wrong)})")
        first = self._reports[0].total if self._reports else first_loss
        if report.total > GROWTH * max(abs(first), 1.0):
            self._end("its end", f"the loss grew from {first:.4g} to {report.total:.4g}")
        if (name := not_finite(_tensors(state))) is not None:
            self._end("its end", f"{name} is not finite")
        self._reports.append(report)

    def _end(self, where: str, what: str) -> None:
        epoch = len(self._reports) + 1
        kept = f"the checkpoint of epoch {epoch - 1} is kept" if self._reports else "no epoch was saved"
        place = "another folder" if self._reports else "the same folder"
        raise TrainingError(
            f"{self._run}: training diverged in epoch {epoch} at {where}: {what}; {kept}; train into {place} with a "
            f"lower train.learning_rate (now {self._config.learning_rate:g}) or train.clip_norm "
            f"(now {self._config.clip_norm:g})"
        )


def check_batch(batch: Batch, store_place: str) -> None:
    """Check whether the inputs of a batch are the cause of a non-finite loss.

    Args:
        batch: batch whose loss or gradient is not finite.
        store_place: path or URL of the feature store, for messages.

    Raises:
        StoreError: features or word vectors of the batch contain non-finite values.
    """
    whole = batch.inputs.features.flatten(1).isfinite().all(dim=1)
    spoken = batch.inputs.words.flatten(1).isfinite().all(dim=1)
    for example, video, sound in zip(batch.examples, batch.inputs.video.tolist(), spoken.tolist(), strict=True):
        if not whole[video]:
            raise StoreError(
                f"{store_place}: features of {example.record.key!r} hold values that are not finite; "
                "mend the store with: gkcmn-pipe verify --repair"
            )
        if not sound:
            query = example.sample.query if example.sample is not None else ""
            raise StoreError(
                f"{store_place}: word vectors of {query!r} hold values that are not finite; "
                "check the file of extract.vectors, and extract into another store"
            )


def _tensors(state: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in nested mappings, with their keys joined by dots."""
    for key, value in state.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{name}.")
