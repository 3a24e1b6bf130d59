"""Train a model on a feature store and an index, and save a run that can be resumed after every epoch."""

from __future__ import annotations

import fcntl
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader

from extract.errors import OutputError, StoreError
from extract.io.outputs import Inputs, check_outputs, recognized
from extract.records import EncodedQuery
from extract.store.feature_store import FeatureStore
from model.base import Grounder, Losses
from model.registry import build_model, state_shapes
from pipeline.checkpoint import (
    CONFIG,
    TRAINING,
    Progress,
    RunSettings,
    load_progress,
    load_settings,
    run_name,
    save_progress,
    save_settings,
    save_weights,
)
from pipeline.config import Config, TrainConfig, config_values
from pipeline.data.dataset import Batch, GroundingDataset, collate
from pipeline.data.index import of_split, read_index, samples_digest
from pipeline.data.queries import can_stand_for, encoding_name, ensure_queries
from pipeline.data.sampler import GroupedSampler
from pipeline.device import resolve_device
from pipeline.errors import CheckpointError, ConfigError
from pipeline.outputs.places import run_output
from pipeline.outputs.recognize import is_run
from pipeline.training.divergence import DivergenceCheck, check_batch
from pipeline.training.run_log import LOG, EpochReport, read_log, write_log
from pipeline.training.validation import Validation

_log = logging.getLogger(__name__)

OnBatch = Callable[[int, int, int, float], None]
"""Callback that receives the epoch (from 1), the number of batches done, their total number and the last loss."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Result of `train`."""

    run: Path
    """Folder of the run."""
    epochs: list[EpochReport]
    """Reports of the epochs that this call trained; empty if the run was complete."""


def train(
    index: str | Path,
    store: str | Path,
    run: str | Path,
    config: Config | None = None,
    *,
    force: bool = False,
    inputs: Inputs | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
    on_batch: OnBatch = lambda *_: None,
) -> TrainingResult:
    """Train a model, or resume an interrupted run.

    Args:
        index: file of labeled samples; those with the split "train" and those without a split are used.
        store: path or URL of the feature store.
        run: folder for the checkpoint and the log. An existing run resumes after its last complete epoch and ends with
            the same weights as an uninterrupted run.
        config: settings, from `load_config`; None uses the defaults.
        force: whether to write into a folder that contains files of other programs, and to overwrite those that have
            the name of a run's file.
        inputs: further files that the run must not overwrite, by description, for example
            {"the file of settings": [path]}.
        on_epoch: called with the report of each epoch once its checkpoint is saved.
        on_batch: called with the epoch (from 1), the number of batches done, their total number and the last loss.

    Raises:
        OutputError: the folder contains files of other programs, or cannot be written.
        GkcmnError: the errors of `iter_train`.
    """
    folder = Path(run)
    check_outputs([run_output(folder)], {"the index": [Path(index)], **(inputs or {})}, force=force)
    reports = []
    for report in iter_train(Path(index), str(store), folder, config or Config(), force=force, on_batch=on_batch):
        reports.append(report)
        on_epoch(report)
    return TrainingResult(run=folder, epochs=reports)


def iter_train(
    index: Path,
    store_place: str,
    run: Path,
    config: Config,
    *,
    force: bool = False,
    on_batch: OnBatch = lambda *_: None,
) -> Iterator[EpochReport]:
    """Train a model, and yield the report of each epoch once its checkpoint is saved.

    An existing run resumes after its last complete epoch and ends with the same weights as an uninterrupted run. Under
    torchrun, each batch is split evenly over the processes.

    Args:
        index: file of labeled samples; those with the split "train" and those without a split are used.
        store_place: path or URL of the feature store.
        run: folder for the checkpoint and the log.
        config: settings.
        force: whether to ignore a training.pt that is not from this program.
        on_batch: called with the epoch (from 1), the number of batches done, their total number and the last loss.

    Raises:
        AnnotationError: the index lacks samples to train on, or the store lacks a video.
        CheckpointError: the folder contains a damaged run or one with other settings, or another process trains it.
        ConfigError: the device is missing, the model is too large, or the batch size is not a multiple of the number
            of processes.
        StoreError: features or word vectors are damaged.
        TrainingError: training diverged; the checkpoint of the last good epoch is kept.
    """
    everything = read_index(index)
    samples = of_split(everything, "train", index)
    store = FeatureStore.open(store_place)
    device = resolve_device(config.device)
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # Accelerator uses the current device; under torchrun it selects one
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]  # accelerate would take mixed precision or gradient accumulation from these
    # Split each batch over the processes, so that their number does not change the result. Only a short last batch of
    # an epoch differs: accelerate fills it up with samples of the first batch.
    accelerator = Accelerator(cpu=device == "cpu", dataloader_config=DataLoaderConfiguration(split_batches=True))
    if config.train.batch_size % accelerator.num_processes:
        raise ConfigError(
            f"train.batch_size = {config.train.batch_size}: {accelerator.num_processes} processes cannot share it; "
            "set a multiple of their number"
        )
    with accelerator.main_process_first():
        queries = ensure_queries((sample.query for sample in samples), store_place, config.extract).queries
    config = replace(
        config,
        model=replace(
            config.model,
            feature_channels=store.channels,
            word_dim=next(iter(queries.values())).vectors.shape[1],
        ),
    )
    try:
        state_shapes(config.model)
    except ValueError as error:
        raise ConfigError(f"model: {error}; set smaller widths") from error
    dataset = GroundingDataset(
        samples,
        store,
        queries,
        max_steps=config.model.max_steps,
        channels=config.model.feature_channels,
        cache_mb=config.train.cache_mb,
        index=index,
    )
    settings = RunSettings(
        config=config,
        features=store.settings,
        encoding=encoding_name(config.extract),
        samples=samples_digest(samples),
    )
    vocabulary = _vocabulary(queries.values(), store.place)
    # Only the main process validates, on all samples of the split; the others wait at the end of the epoch.
    validation = None
    if config.train.val is not None and accelerator.is_main_process:
        validation = Validation(of_split(everything, config.train.val, index), store, store_place, config, index=index)
    with _alone(run) if accelerator.is_main_process else nullcontext():
        yield from _epochs(
            dataset, vocabulary, run, settings, accelerator, store.place, on_batch, validation, force=force
        )


def _epochs(
    dataset: GroundingDataset,
    vocabulary: torch.Tensor,
    run: Path,
    settings: RunSettings,
    accelerator: Accelerator,
    store_place: str,
    on_batch: OnBatch,
    validation: Validation | None,
    *,
    force: bool,
) -> Iterator[EpochReport]:
    """Train the remaining epochs of a run, and yield their reports."""
    config = settings.config
    progress, settings = _resume(run, settings, force=force)
    reports = [] if progress is None else list(progress.reports or _logged(run, progress.epochs))
    if accelerator.is_main_process:
        # A previous process may have ended between writing two of these files; write all of them again.
        save_settings(run, settings)
        write_log(run, reports)
        if progress is not None:
            save_weights(run, progress)
    accelerator.wait_for_everyone()

    torch.manual_seed(config.train.seed)
    model = build_model(config.model)
    model.sentence.standardise(vocabulary)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.train.learning_rate)
    steps = config.train.epochs * -(-len(dataset) // config.train.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step, steps, config.train)
    )
    if progress is not None:
        try:
            model.load_state_dict(progress.state["model"])
            optimiser.load_state_dict(progress.state["optimiser"])
            schedule.load_state_dict(progress.state["schedule"])
        except Exception as error:  # torch hardly validates an optimizer's state and raises various errors
            raise CheckpointError(
                f"{run / TRAINING}: of another version of the model; train into another folder"
            ) from error
    order = torch.Generator()
    loader = DataLoader(
        dataset,
        batch_size=config.train.batch_size,
        sampler=GroupedSampler(dataset.samples, config.train.sentences_per_video, order),
        collate_fn=collate,
        num_workers=config.train.loader_workers,
        # The loader seeds its workers from this generator. If it used torch's global one, dropout would differ in a
        # resumed run or with another number of workers.
        generator=torch.Generator(),
        persistent_workers=config.train.loader_workers > 0,
    )
    check = DivergenceCheck(run, config.train, reports)
    net, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    loop = _Loop(
        model=model, net=net, optimiser=optimiser, schedule=schedule, loader=loader, accelerator=accelerator,
        config=config.train, check=check, store_place=store_place, on_batch=on_batch,
    )  # fmt: skip
    for epoch in range(len(reports) + 1, config.train.epochs + 1):
        # Seed every epoch, so that a resumed run uses the same random numbers as an uninterrupted one.
        torch.manual_seed(config.train.seed * 1_000_003 + epoch)
        order.manual_seed(config.train.seed * 1_000_003 + epoch)
        report = loop.epoch(epoch)
        if validation is not None:
            report = check.add_validation(validation.scores(model, str(accelerator.device)))
        if accelerator.is_main_process:
            save_progress(run, Progress(epochs=epoch, state=loop.state, reports=check.reports, run=settings.run))
            write_log(run, check.reports)
        accelerator.wait_for_everyone()
        yield report


def learning_rate_factor(step: int, steps: int, config: TrainConfig) -> float:
    """Return the factor of the learning rate at a step: linear warm-up times a constant 1 or a cosine decay to 0.

    Args:
        step: number of the optimizer step, from 0.
        steps: number of steps of the complete training.
        config: its `warmup_steps` and `decay` are used.

    Returns:
        Factor in [0, 1].
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * (0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))) if config.decay == "cosine" else 1.0)


@dataclass(kw_only=True)
class _Loop:
    """The objects that train one epoch."""

    model: Grounder[Any]
    net: torch.nn.Module
    """The model, wrapped in DistributedDataParallel if several processes train it."""
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    loader: DataLoader[Batch]
    accelerator: Accelerator
    config: TrainConfig
    check: DivergenceCheck
    store_place: str
    on_batch: OnBatch

    @property
    def state(self) -> dict[str, Any]:
        """The state of the model, optimizer and schedule that is saved after an epoch."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def epoch(self, epoch: int) -> EpochReport:
        """Train for one epoch and return its report.

        Raises:
            TrainingError: training diverged.
            StoreError: features or word vectors of a batch are not finite.
        """
        self.net.train()
        self.check.begin_epoch()
        names: list[str] = []
        total, first = torch.zeros(1), torch.zeros(1)
        count = 0
        for step, batch in enumerate(self.loader, start=1):
            losses, norm = self._backward(batch)
            names = list(losses.parts)
            # Copy all values that the CPU needs from this step in a single transfer.
            values = torch.stack(
                [value.detach().float() for value in (*losses.parts.values(), losses.total, norm)]
            ).cpu()
            if values[-1].isfinite():
                self.optimiser.step()
                self.schedule.step()
                self.check.take()
                if count == 0:
                    first = values[-2:-1]
                total = total + values[:-1] * len(batch.examples)
                count += len(batch.examples)
            else:
                check_batch(batch, self.store_place)
                self.check.skip(step, len(self.loader), dict(zip([*names, "total"], values.tolist(), strict=False)))
            self.on_batch(epoch, step, len(self.loader), float(values[-2]))
        sums = torch.cat([total, torch.tensor([float(count)]), first]).to(self.accelerator.device)
        sums = self.accelerator.reduce(sums).cpu()
        *parts, mean = (sums[:-2] / sums[-2]).tolist()
        report = EpochReport(
            epoch=epoch,
            losses=dict(zip(names, parts, strict=True)),
            total=mean,
            learning_rate=float(self.schedule.get_last_lr()[0]),
            skipped=self.check.skipped,
        )
        self.check.end_epoch(report, float(sums[-1]) / self.accelerator.num_processes, self.state)
        return report

    def _backward(self, batch: Batch) -> tuple[Losses, torch.Tensor]:
        """Compute the gradient of a batch and clip it.

        Returns:
            The losses of this process, and the norm of the gradient before clipping, which is equal in all processes.
        """
        assert batch.target is not None
        inputs, target = batch.inputs.to(self.accelerator.device), batch.target.to(self.accelerator.device)
        losses = self.model.losses(self.net(inputs, target.box_mask), inputs, target)
        self.optimiser.zero_grad()
        # The gradient can be finite although the loss is not. Multiplying such a loss by NaN makes the gradient NaN,
        # and so its mean over the processes. All processes then skip the same steps without further communication.
        total = losses.total
        self.accelerator.backward(total * torch.where(total.isfinite(), 1.0, torch.nan))
        return losses, self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)


def _vocabulary(queries: Iterable[EncodedQuery], store_place: str) -> torch.Tensor:
    """Return the vectors of all distinct words, float32 (word, dim). Raises StoreError if one is not finite."""
    table = {word: vector for query in queries for word, vector in zip(query.words, query.vectors, strict=True)}
    if (wrong := next((word for word, vector in table.items() if not np.isfinite(vector).all()), None)) is not None:
        raise StoreError(
            f"{store_place}: the vector of the word {wrong!r} holds values that are not finite; "
            "mend the file of extract.vectors, and name the mended one"
        )
    return torch.from_numpy(np.stack(list(table.values())))


def _logged(run: Path, epochs: int) -> list[EpochReport]:
    """Read the reports of the completed epochs from the log; training.pt of an earlier release does not have them."""
    reports = read_log(run)[:epochs]  # an extra line belongs to an epoch whose checkpoint was not saved
    if len(reports) < epochs:
        raise CheckpointError(
            f"{run / LOG}: has {len(reports)} lines, {TRAINING} has {epochs} epochs; "
            "restore it from a copy, or train into another folder"
        )
    return reports


def _resume(run: Path, settings: RunSettings, *, force: bool) -> tuple[Progress | None, RunSettings]:
    """Load the progress of an existing run, and check that its settings and samples are the same.

    The device, the loading of samples and the validation split may differ, and also the number of epochs if the
    learning rate does not decay.

    With `force`, an unreadable training.pt is ignored if the folder has no config.json of a run.

    Returns:
        The progress, None if there is no run yet; and the settings with the name of the run.
    """
    try:
        progress = load_progress(run)
    except CheckpointError:
        if not force or recognized(is_run, run):
            raise
        progress = None
    if progress is not None:
        before = load_settings(run)
        if None not in (before.run, progress.run) and before.run != progress.run:
            raise CheckpointError(
                f"{run / TRAINING}: of another run than {CONFIG}; restore it from a copy, or train into another folder"
            )
        settings = replace(settings, run=before.run or progress.run)
        free = {"train.loader_workers", "train.cache_mb", "train.val"}
        if settings.config.train.decay == "none":
            free.add("train.epochs")  # the cosine decay depends on the number of epochs
        # Do not compare the section `extract`: the store's settings and the encoding contain the parts that matter.
        differing = sorted(
            f"{section}.{key}"
            for section in ("model", "train")
            for key, value in config_values(settings.config)[section].items()
            if config_values(before.config)[section][key] != value and f"{section}.{key}" not in free
        )
        if dict(before.features) != dict(settings.features):
            differing.append("the store's settings")
        if not can_stand_for(settings.encoding, before.encoding):
            differing.append("the word vectors")
        elif before.encoding != settings.encoding:
            _log.warning(
                "%s: begun before queries were normalized; queries that are not plain text now have different vectors",
                run,
            )
        if before.samples != settings.samples:
            differing.append("the samples")
        if differing:
            raise CheckpointError(
                f"{run}: its run was begun otherwise ({', '.join(differing)}); begin as then, or name another --out"
            )
    return progress, replace(settings, run=run_name(settings))


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Create and lock the folder of a run, so that no other process trains it at the same time.

    Raises:
        CheckpointError: another process holds the lock.
        OutputError: the folder cannot be created or opened.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        folder = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{run}: cannot be written ({error.strerror}); name another folder") from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{run}: another process trains it; wait, or train into another folder") from None
        except OSError:
            pass  # some file systems do not support locks
        yield
    finally:
        os.close(folder)
