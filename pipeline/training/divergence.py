"""When training has diverged: steps that are not finite, weights that are not finite, a loss that has grown far."""

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
"""Skipped steps in a row that end training."""
SHARE = 0.1
"""Share of an epoch's steps that may be skipped."""
GROWTH = 1000.0
"""Factor by which an epoch's loss may exceed the first loss of the run; sound training stays far below it."""


class DivergenceCheck:
    """Counts the steps that are skipped, and ends training where it makes no sense to go on.

    Nothing here depends on the process: under torchrun all processes see the same numbers, and end together.
    """

    def __init__(self, run: Path, config: TrainConfig, reports: Iterable[EpochReport]) -> None:
        """Begin where a run stands.

        Args:
            run: its folder, for messages.
            config: its settings, for messages.
            reports: of the epochs done.
        """
        self._run = run
        self._config = config
        self._reports = list(reports)
        self.skipped = 0
        """Steps of this epoch that were skipped."""
        self._row = 0

    @property
    def reports(self) -> Sequence[EpochReport]:
        """Of all sound epochs."""
        return self._reports

    def add_validation(self, scores: Mapping[str, float]) -> EpochReport:
        """Add validation scores to the report of the last epoch, and return that report."""
        self._reports[-1] = replace(self._reports[-1], validation=dict(scores))
        return self._reports[-1]

    def begin_epoch(self) -> None:
        """Count anew."""
        self.skipped = self._row = 0

    def take(self) -> None:
        """Note a step that was taken."""
        self._row = 0

    def skip(self, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Note a step that was skipped because its loss or gradient is not finite.

        Args:
            step: from 1, of this epoch.
            steps: of the epoch.
            losses: this process's parts of the loss and their total.

        Raises:
            TrainingError: too many were skipped.
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
            report: of the epoch.
            first_loss: total of the epoch's first step; of use only in the first epoch of the run.
            state: of model, optimizer and schedule, as it would be saved.

        Raises:
            TrainingError: a number of the report or the state is not finite, or the loss has grown by more than GROWTH.
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
    """Find whether a loss is not finite because what was read is not.

    Raises:
        StoreError: features or word vectors of the batch hold values that are not finite.
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
    """All tensors of nested mappings, under their keys joined by dots."""
    for key, value in state.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{name}.")
