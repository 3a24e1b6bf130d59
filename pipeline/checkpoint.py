"""Read and write the folder of a run: its configuration, weights and training state.

config.json         format, resolved configuration, settings of the feature store, and a checksum
model.safetensors   weights of the last epoch, with a digest
best.safetensors    weights of the epoch with the highest m_vIoU on the validation split, in the same format; only in
                    runs with a validation split
training.pt         weights, optimizer, schedule, progress and log after the last epoch
log.jsonl           one line per epoch (`pipeline.training.run_log`)

All files except log.jsonl contain the name of the run, so that files of different runs are not mixed up. Files of
earlier releases have no name of a run, digest or checksum; they are accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from extract.errors import first_line
from extract.io.files import is_file, is_there, replacing, write_text
from extract.io.json_text import json_digest, read_json_file
from extract.io.tensors import DIGEST, load_archive, load_tensors, save_tensors
from model.base import Grounder
from model.registry import build_model, state_shapes
from pipeline.config import Config, build_config, config_values
from pipeline.errors import CheckpointError, ConfigError
from pipeline.training.run_log import CHECKSUM, EpochReport, best_epoch, parse_report

FORMAT = 3
CONFIG, WEIGHTS, TRAINING = "config.json", "model.safetensors", "training.pt"
BEST = "best.safetensors"
Use = Literal["last", "best"]
"""Choice of weights: those of the last epoch, or of the epoch with the highest m_vIoU on the validation split."""
_RESTORE = "restore it from a copy, or train into another folder"
_DIVERGED = "its training had diverged; train into another folder with a lower train.learning_rate"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run, with which its checkpoint must be used."""

    config: Config
    features: Mapping[str, Any]
    """Settings of the feature store that the run was trained on."""
    encoding: str
    """Name of the encoding of its queries, from `pipeline.data.queries.encoding_name`."""
    samples: str
    """Digest of the samples that the run was trained on."""
    run: str | None = None
    """Name of the run: a checksum of its initial settings. None in files of earlier releases."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of training after an epoch."""

    epochs: int
    """Number of completed epochs."""
    state: Mapping[str, Any]
    """State dictionaries under the keys "model", "optimiser" and "schedule"."""
    reports: Sequence[EpochReport] | None
    """Reports of the completed epochs; None in files of earlier releases."""
    run: str | None = None
    """Name of the run; see `RunSettings.run`."""


class _ConfigFile(BaseModel):
    """Schema of config.json."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    run: str | None = None
    config: dict[str, Any]
    features: dict[str, JsonValue]
    encoding: str
    samples: str
    checksum: str | None = None


def save_settings(run: Path, settings: RunSettings) -> None:
    """Write config.json. Raises OutputError."""
    content = _content(settings)
    write_text(run / CONFIG, json.dumps({**content, CHECKSUM: json_digest(content)}, indent=2) + "\n")


def run_name(settings: RunSettings) -> str:
    """Return the name of a run: the stored one, or else a checksum of its settings.

    Runs with equal settings have equal weights, so that equal names are no problem.
    """
    return settings.run or json_digest(_content(settings))[:16]


def load_settings(run: Path) -> RunSettings:
    """Read config.json.

    Args:
        run: folder of the run.

    Raises:
        CheckpointError: the file is missing, damaged or written by an incompatible release.
    """
    path = run / CONFIG
    try:
        content = read_json_file(path, has_paths=True)
    except (FileNotFoundError, NotADirectoryError):
        if any(is_there(run / name) for name in (WEIGHTS, TRAINING)):
            raise CheckpointError(f"{path}: missing, though the run's weights are there; {_RESTORE}") from None
        raise CheckpointError(
            f"{run}: no checkpoint; train one with: gkcmn-pipe train --out {run}, or name one with --checkpoint"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its path and rights") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({first_line(error)}); {_RESTORE}") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise CheckpointError(f"{path}: damaged (it names no checkpoint format); {_RESTORE}")
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {content['format']}, this program reads {FORMAT}; "
            "use the gkcmn-pipe that made it, or train again"
        )
    try:
        file = _ConfigFile.model_validate(content)
        given = content.pop(CHECKSUM, None)
        if given is not None and given != json_digest(content):
            raise CheckpointError(f"{path}: damaged (its checksum does not match its content); {_RESTORE}")
        return RunSettings(
            config=build_config(file.config, where=str(path)),
            features=file.features,
            encoding=file.encoding,
            samples=file.samples,
            run=file.run,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise CheckpointError(
            f"{path}: damaged or made by another version ({field}: {fault['msg'].lower()}); {_RESTORE}"
        ) from error
    except (ConfigError, RecursionError) as error:
        raise CheckpointError(f"{path}: made by another version ({first_line(error)}); train again") from error


def save_progress(run: Path, progress: Progress) -> None:
    """Write training.pt, then the files of `save_weights`; each file is replaced atomically.

    Raises:
        OutputError: a file cannot be written.
    """
    content = {
        "epochs": progress.epochs,
        "state": dict(progress.state),
        "reports": None if progress.reports is None else [report.values for report in progress.reports],
        "run": progress.run,
    }
    with replacing(run / TRAINING) as partial:
        torch.save(content, partial)
    save_weights(run, progress)


def save_weights(run: Path, progress: Progress) -> None:
    """Write model.safetensors, and also best.safetensors if the last epoch is the best one so far.

    Raises:
        OutputError: a file cannot be written.
    """
    _save_weights(run / WEIGHTS, progress)
    if progress.reports is not None and best_epoch(progress.reports) == progress.epochs:
        _save_weights(run / BEST, progress)


def _save_weights(path: Path, progress: Progress) -> None:
    """Write one file of weights from `progress.state["model"]`. Raises OutputError."""
    metadata = {"format": str(FORMAT), "epochs": str(progress.epochs)}
    if progress.run is not None:
        metadata["run"] = progress.run
    with replacing(path) as partial:
        try:
            save_tensors(partial, progress.state["model"], metadata)
        except SafetensorError as error:  # safetensors raises this for I/O errors
            raise OSError(None, first_line(error)) from error


def load_progress(run: Path) -> Progress | None:
    """Read training.pt.

    Args:
        run: folder of the run.

    Returns:
        The progress; None if the folder contains neither training.pt nor weights.

    Raises:
        CheckpointError: the file is damaged or unreadable, its weights are not finite, or it is missing although the
            folder contains weights.
    """
    path = run / TRAINING
    if not is_there(path):
        if is_there(run / WEIGHTS):
            raise CheckpointError(f"{run}: holds weights, and no {TRAINING} to go on from; train into another folder")
        return None
    try:
        progress = _progress(load_archive(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its path and rights") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({first_line(error)}); remove {run} and train again") from error
    if (name := not_finite(progress.state["model"].items())) is not None:
        raise CheckpointError(f"{path}: {name} holds values that are not finite: {_DIVERGED}")
    return progress


def load_model(run: Path, use: Use = "last") -> tuple[Grounder[Any], RunSettings]:
    """Load the model of a run, in evaluation mode on the CPU, and the settings of the run.

    Args:
        run: folder of the run.
        use: "last" reads model.safetensors, "best" reads best.safetensors.

    Raises:
        CheckpointError: a file is missing, damaged or from another run, or a weight is not finite.
    """
    settings = load_settings(run)
    path = run / (BEST if use == "best" else WEIGHTS)
    rewrite = _RESTORE if use == "best" else _rewrite(run)
    try:
        weights, metadata = load_tensors(path)
    except FileNotFoundError:
        if use == "best":
            raise CheckpointError(
                f"{path}: missing; train the run with --val, or use the weights of its last epoch"
            ) from None
        if is_file(run / TRAINING):
            raise CheckpointError(
                f"{path}: missing; write it again from {TRAINING} with: gkcmn-pipe train --out {run}"
            ) from None
        raise CheckpointError(
            f"{run}: its training ended before its first epoch did; go on with: gkcmn-pipe train --out {run}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its path and rights") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({first_line(error)}); {rewrite}") from error
    if unknown := sorted(metadata.keys() - {"format", "epochs", "run", DIGEST}):
        raise CheckpointError(f"{path}: damaged (its metadata holds {unknown[0]!r}); {rewrite}")
    if None not in (settings.run, metadata.get("run")) and settings.run != metadata["run"]:
        raise CheckpointError(f"{path}: of another run than {run / CONFIG}; {rewrite}")
    try:
        _check_shapes(weights, state_shapes(settings.config.model))
    except ValueError as error:
        raise CheckpointError(f"{path}: does not fit {CONFIG} ({first_line(error)}); {_RESTORE}") from error
    if (name := not_finite(weights.items())) is not None:
        raise CheckpointError(f"{path}: {name} holds values that are not finite: {_DIVERGED}")
    model = build_model(settings.config.model)
    model.load_state_dict(weights)
    return model.eval(), settings


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that contains NaN or infinity; None if there is none.

    Args:
        tensors: pairs of name and tensor; tensors of integers pass.
    """
    return next(
        (name for name, tensor in tensors if tensor.is_floating_point() and not bool(tensor.isfinite().all())), None
    )


def _content(settings: RunSettings) -> dict[str, Any]:
    """Return the content of config.json without its checksum."""
    named = {} if settings.run is None else {"run": settings.run}
    return {
        "format": FORMAT,
        **named,
        "config": config_values(settings.config),
        "features": dict(settings.features),
        "encoding": settings.encoding,
        "samples": settings.samples,
    }


def _progress(content: object) -> Progress:
    """Parse the content of training.pt. Raises ValueError if it is invalid."""
    if not isinstance(content, dict):
        raise ValueError("it holds no progress of training")  # noqa: TRY004 - one exception type for all defects
    epochs, state = content.get("epochs"), content.get("state")
    reports, run = content.get("reports"), content.get("run")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise ValueError(f"epochs is {epochs!r}, not a count")
    parts = ("model", "optimiser", "schedule")
    if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in parts):
        raise ValueError("it lacks the state of the model, the optimizer or the schedule")
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state["model"].items()):
        raise ValueError("the state of the model holds what is no tensor")
    if run is not None and not isinstance(run, str):
        raise ValueError("the name of its run is no text")
    if reports is None:
        return Progress(epochs=epochs, state=state, reports=None, run=run)
    if not isinstance(reports, list) or len(reports) != epochs:
        raise ValueError(f"it does not hold the reports of {epochs} epochs")
    parsed = [parse_report(report, epoch) for epoch, report in enumerate(reports, start=1)]
    return Progress(epochs=epochs, state=state, reports=parsed, run=run)


def _check_shapes(weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Raise ValueError unless the weights are float32 and have exactly these names and shapes."""
    for name, shape in shapes.items():
        if name not in weights:
            raise ValueError(f"{name} is missing")
        if weights[name].shape != shape:
            raise ValueError(f"{name} has the shape {tuple(weights[name].shape)}, not {tuple(shape)}")
        if weights[name].dtype != torch.float32:
            raise ValueError(f"{name} holds {weights[name].dtype}, not torch.float32")
    if unknown := sorted(weights.keys() - shapes.keys()):
        raise ValueError(f"{unknown[0]} is no part of the model")


def _rewrite(run: Path) -> str:
    """Return advice on how to recover damaged weights."""
    if is_file(run / TRAINING):
        return f"write it again from {TRAINING} with: gkcmn-pipe train --out {run}"
    return _RESTORE
