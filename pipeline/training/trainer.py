"""Training: from a store and an index to a run's folder, resumable after every epoch."""

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
"""Called with the epoch (from 1), the batches done, the batches in all and the last batch's loss."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What `train` did."""

    run: Path
    """Folder of the run."""
    epochs: list[EpochReport]
    """Of the epochs that this call trained; empty if the run was complete."""


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
    """Train a model, or continue a run that was interrupted.

    Args:
        index: labeled samples; those of the split "train" and those without a split are used.
        store: path or URL of their features.
        run: folder for the checkpoint and the log; an existing run continues after its last complete epoch, with the
            same weights as if it had never stopped.
        config: settings, from `load_config`; None takes the defaults.
        force: write into a folder that holds files of another origin, and over those whose names a run's files have.
        inputs: more files that the run must not replace, by what they are, as {"the file of settings": [path]}.
        on_epoch: called with each epoch's losses once its checkpoint is saved.
        on_batch: called with the epoch (from 1), the batches done, all batches and the last batch's loss.

    Raises:
        OutputError: the folder holds files of another origin, or cannot be written.
        GkcmnError: as `iter_train`.
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
    """Train a model, and yield each epoch's report once its checkpoint is saved.

    A run that is there already goes on after its last whole epoch, to the same weights as if it had never
    stopped. With `force`, files of another origin count as no run. Under torchrun each process takes its share of
    every batch.

    Raises:
        AnnotationError: the index or the store lacks something.
        CheckpointError: the folder holds a damaged run or one with other settings, or another process trains it.
        ConfigError: the device is not there, the model is too large, or the processes cannot share a batch.
        StoreError: features or word vectors are damaged.
        TrainingError: training diverged; the last sound epoch is kept.
    """
    everything = read_index(index)
    samples = of_split(everything, "train", index)
    store = FeatureStore.open(store_place)
    device = resolve_device(config.device)
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # alone, Accelerator takes the current one; under torchrun, its own
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]  # another program's precision or accumulation would change the training
    # A batch is split over the processes, so that their number does not change the result; only an epoch's last batch,
    # if it is short, is filled up with samples of the first.
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
    # Only the main process validates, with the whole model; the others wait for it at the end of the epoch.
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
    """Those epochs that the run lacks."""
    config = settings.config
    progress, settings = _resume(run, settings, force=force)
    reports = [] if progress is None else list(progress.reports or _logged(run, progress.epochs))
    if accelerator.is_main_process:
        # The last process may have ended between two of these files.
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
        except Exception as error:  # torch checks little of an optimizer's state, and fails in many ways
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
        # Workers are seeded from it: torch's own would draw other dropout in a resumed run, or with other workers.
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
        # One seed an epoch, not one stream: a resumed run then draws what an unbroken one would.
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
    """Share of the learning rate at a step (from 0) of all steps: a linear warm-up, then constant or a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * (0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))) if config.decay == "cosine" else 1.0)


@dataclass(kw_only=True)
class _Loop:
    """All that an epoch needs."""

    model: Grounder[Any]
    net: torch.nn.Module
    """The model, wrapped where several processes train it."""
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
        """What is saved after an epoch."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def epoch(self, epoch: int) -> EpochReport:
        """Train for one epoch. Raises TrainingError, StoreError."""
        self.net.train()
        self.check.begin_epoch()
        names: list[str] = []
        total, first = torch.zeros(1), torch.zeros(1)
        count = 0
        for step, batch in enumerate(self.loader, start=1):
            losses, norm = self._backward(batch)
            names = list(losses.parts)
            # One transfer for all that the host has to know of the step.
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
        """A batch's losses, and the norm of their gradient, which is then clipped; the same norm in all processes."""
        assert batch.target is not None
        inputs, target = batch.inputs.to(self.accelerator.device), batch.target.to(self.accelerator.device)
        losses = self.model.losses(self.net(inputs, target.box_mask), inputs, target)
        self.optimiser.zero_grad()
        # A gradient may be finite where the loss is not. Times NaN it is not either, and its mean over the processes
        # tells all of them, so that they skip the same steps without another exchange.
        total = losses.total
        self.accelerator.backward(total * torch.where(total.isfinite(), 1.0, torch.nan))
        return losses, self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)


def _vocabulary(queries: Iterable[EncodedQuery], store_place: str) -> torch.Tensor:
    """The vectors of all words that are used, each once: float32 (word, dim). Raises StoreError."""
    table = {word: vector for query in queries for word, vector in zip(query.words, query.vectors, strict=True)}
    if (wrong := next((word for word, vector in table.items() if not np.isfinite(vector).all()), None)) is not None:
        raise StoreError(
            f"{store_place}: the vector of the word {wrong!r} holds values that are not finite; "
            "mend the file of extract.vectors, and name the mended one"
        )
    return torch.from_numpy(np.stack(list(table.values())))


def _logged(run: Path, epochs: int) -> list[EpochReport]:
    """The reports of the epochs done, for a training.pt of an earlier version, which holds none."""
    reports = read_log(run)[:epochs]  # a line too many is of an epoch that was not saved
    if len(reports) < epochs:
        raise CheckpointError(
            f"{run / LOG}: has {len(reports)} lines, {TRAINING} has {epochs} epochs; "
            "restore it from a copy, or train into another folder"
        )
    return reports


def _resume(run: Path, settings: RunSettings, *, force: bool) -> tuple[Progress | None, RunSettings]:
    """Return how far the run in that folder has come, if it was begun with the same settings and samples.

    What may change is the device, how samples are loaded, the validation split, and the number of epochs where no
    decay is laid over them.
    With `force`, a folder without a run's config.json holds no run, unless its training.pt can be read.
    The settings are returned with the name of the run.
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
            free.add("train.epochs")  # a decay is laid over all epochs, and cannot be stretched
        # Of extraction, what counts is in the store's settings and the encoding, however it was spelt.
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
            _log.warning("%s: begun before queries were normalized; what is not plain text has other vectors now", run)
        if before.samples != settings.samples:
            differing.append("the samples")
        if differing:
            raise CheckpointError(
                f"{run}: its run was begun otherwise ({', '.join(differing)}); begin as then, or name another --out"
            )
    return progress, replace(settings, run=run_name(settings))


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Hold a run's folder, so that no other process trains it meanwhile. Raises CheckpointError, OutputError."""
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
            pass  # a file system may know no locks
        yield
    finally:
        os.close(folder)
