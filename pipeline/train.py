"""Training: from a store and an index to a run's folder, resumable after every epoch."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader

from extract.errors import OutputError
from extract.files import write_text
from extract.records import EncodedQuery
from extract.store import FeatureStore
from model.build import build_model
from model.grounder import Grounder, Losses
from pipeline.checkpoint import (
    LOG,
    TRAINING,
    Progress,
    RunSettings,
    load_progress,
    load_settings,
    save_progress,
    save_settings,
    save_weights,
)
from pipeline.config import Config, TrainConfig, config_values
from pipeline.dataset import Batch, GroundingDataset, collate
from pipeline.device import resolve_device
from pipeline.errors import CheckpointError, ConfigError
from pipeline.grouped import GroupedSampler
from pipeline.index import read_index, samples_digest
from pipeline.queries import can_stand_for, encoding_name, ensure_queries

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One line of log.jsonl: means of the losses over an epoch's samples."""

    epoch: int
    """From 1."""
    location: float
    size: float
    confidence: float
    boundary: float
    total: float
    learning_rate: float


OnBatch = Callable[[int, int, int, float], None]
"""Called with the epoch (from 1), the batches done, the batches in all and the last batch's loss."""


def train(
    index: Path, store_place: str, run: Path, config: Config, *, on_batch: OnBatch = lambda *_: None
) -> Iterator[EpochReport]:
    """Train GKCMN, and yield each epoch's report once it is saved.

    A run that is there already goes on after its last whole epoch, to the same weights as if it had never
    stopped. Under torchrun each process takes its share of every batch.

    Raises:
        AnnotationError: the index or the store lacks something.
        CheckpointError: the folder holds a run with other settings, or another process trains it.
        ConfigError: the device is not there, or the processes cannot share a batch.
    """
    samples = read_index(index, split="train")
    store = FeatureStore.open(store_place)
    device = resolve_device(config.device)
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # alone, Accelerator takes the current one; under torchrun, its own
    # A batch is split over the processes, so that their number does not change what is learnt; only an epoch's last
    # batch, if it is short, is filled up with samples of the first.
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
    dataset = GroundingDataset(
        samples, store, queries, max_steps=config.model.max_steps, cache_mb=config.train.cache_mb
    )
    settings = RunSettings(
        config=config,
        features=store.settings,
        encoding=encoding_name(config.extract),
        samples=samples_digest(samples),
    )
    vocabulary = _vocabulary(queries.values())
    with _alone(run) if accelerator.is_main_process else nullcontext():
        yield from _epochs(dataset, vocabulary, run, settings, accelerator, on_batch)


def _epochs(
    dataset: GroundingDataset,
    vocabulary: torch.Tensor,
    run: Path,
    settings: RunSettings,
    accelerator: Accelerator,
    on_batch: OnBatch,
) -> Iterator[EpochReport]:
    """Those epochs that the run lacks."""
    config = settings.config
    progress = _resume(run, settings)
    if accelerator.is_main_process:
        save_settings(run, settings)
        _cut_log(run, progress.epochs if progress is not None else 0)
        if progress is not None:
            save_weights(run, progress)  # the last run may have ended between its two files

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
        except (RuntimeError, ValueError, KeyError) as error:
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
    done = progress.epochs if progress is not None else 0
    net, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    for epoch in range(done + 1, config.train.epochs + 1):
        # One seed an epoch, not one stream: a resumed run then draws what an unbroken one would.
        torch.manual_seed(config.train.seed * 1_000_003 + epoch)
        order.manual_seed(config.train.seed * 1_000_003 + epoch)
        report = _epoch(epoch, model, net, optimiser, schedule, loader, accelerator, config, on_batch)
        if accelerator.is_main_process:
            # The log goes first: a line too many is cut when the run goes on, a missing one could not be made.
            with (run / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(report)) + "\n")
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
            }
            save_progress(run, Progress(epochs=epoch, state=state))
        accelerator.wait_for_everyone()
        yield report


def learning_rate_factor(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the learning rate at a step (from 0) of all steps: a linear warm-up, then constant or a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * (0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))) if config.decay == "cosine" else 1.0)


def _epoch(
    epoch: int,
    model: Grounder[Any],
    net: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    loader: DataLoader[Batch],
    accelerator: Accelerator,
    config: Config,
    on_batch: OnBatch,
) -> EpochReport:
    net.train()
    total = torch.zeros(5)
    count = 0
    for number, batch in enumerate(loader, start=1):
        inputs = batch.inputs.to(accelerator.device)
        target = batch.target.to(accelerator.device)
        losses = model.losses(net(inputs, target.box_mask), inputs, target)
        optimiser.zero_grad()
        accelerator.backward(losses.total)
        accelerator.clip_grad_norm_(net.parameters(), config.train.clip_norm)
        optimiser.step()
        schedule.step()
        total += _values(losses) * len(batch.examples)
        count += len(batch.examples)
        on_batch(epoch, number, len(loader), float(losses.total.detach()))
    means = accelerator.reduce(torch.cat([total, torch.tensor([float(count)])]).to(accelerator.device)).cpu()
    location, size, confidence, boundary, loss = (means[:5] / means[5]).tolist()
    return EpochReport(
        epoch=epoch,
        location=location,
        size=size,
        confidence=confidence,
        boundary=boundary,
        total=loss,
        learning_rate=float(schedule.get_last_lr()[0]),
    )


def _vocabulary(queries: Iterable[EncodedQuery]) -> torch.Tensor:
    """The vectors of all words that are used, each once: float32 (word, dim)."""
    table = {word: vector for query in queries for word, vector in zip(query.words, query.vectors, strict=True)}
    return torch.from_numpy(np.stack(list(table.values())))


def _values(losses: Losses) -> torch.Tensor:
    parts = (losses.location, losses.size, losses.confidence, losses.boundary, losses.total)
    return torch.stack([part.detach().float().cpu() for part in parts])


def _resume(run: Path, settings: RunSettings) -> Progress | None:
    """Return how far the run in that folder has come, if it was begun with the same settings and samples.

    What may change is the device, how samples are loaded, and the number of epochs where no decay is laid over them.
    """
    progress = load_progress(run)
    if progress is not None:
        before = load_settings(run)
        free = {"train.loader_workers", "train.cache_mb"}
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
    return progress


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


def _cut_log(run: Path, epochs: int) -> None:
    """Drop what the log says of epochs that were not saved."""
    path = run / LOG
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_text(path, "".join(lines[:epochs]))
