"""A run's folder: its configuration, its weights, and what it needs to go on.

config.json         format, the resolved configuration, what the features were made with
model.safetensors   weights of the newest epoch
training.pt         the same weights, optimiser and progress, of one moment
log.jsonl           one line an epoch
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extract.files import replacing, write_text
from model.build import build_model
from model.grounder import Grounder
from pipeline.config import Config, build_config, config_values
from pipeline.errors import CheckpointError, ConfigError

FORMAT = 3
CONFIG, WEIGHTS, TRAINING, LOG = "config.json", "model.safetensors", "training.pt", "log.jsonl"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a checkpoint can only be used with."""

    config: Config
    features: Mapping[str, Any]
    """The settings of the store it was trained from."""
    encoding: str
    """How its queries became vectors: `pipeline.queries.encoding_name`."""
    samples: str
    """Digest of the samples it was trained on."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come."""

    epochs: int
    """Epochs done."""
    state: Mapping[str, Any]
    """Of model and optimiser; see `pipeline.train`."""


def save_settings(run: Path, settings: RunSettings) -> None:
    """Write config.json. Raises OutputError."""
    content = {
        "format": FORMAT,
        "config": config_values(settings.config),
        "features": dict(settings.features),
        "encoding": settings.encoding,
        "samples": settings.samples,
    }
    write_text(run / CONFIG, json.dumps(content, indent=2) + "\n")


def load_settings(run: Path) -> RunSettings:
    """Read config.json. Raises CheckpointError if there is none, or it is of another version."""
    path = run / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{run}: no checkpoint; train one with: gkcmn-pipe train --out {run}, or name one with --checkpoint"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); train again into another folder") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this program reads {FORMAT}; "
            "use the gkcmn-pipe that made it, or train again"
        )
    try:
        return RunSettings(
            config=build_config(content["config"], where=str(path)),
            features=content["features"],
            encoding=content["encoding"],
            samples=content["samples"],
        )
    except (ConfigError, KeyError) as error:
        raise CheckpointError(f"{path}: made by another version ({error}); train again") from error


def save_progress(run: Path, progress: Progress) -> None:
    """Write training.pt, then model.safetensors: each replaces its predecessor whole. Raises OutputError."""
    with replacing(run / TRAINING) as partial:
        torch.save({"epochs": progress.epochs, "state": dict(progress.state)}, partial)
    save_weights(run, progress)


def save_weights(run: Path, progress: Progress) -> None:
    """Write model.safetensors from `progress.state["model"]`. Raises OutputError."""
    weights: Mapping[str, Tensor] = progress.state["model"]
    with replacing(run / WEIGHTS) as partial:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()},
            partial,
            metadata={"format": str(FORMAT)},
        )


def load_progress(run: Path) -> Progress | None:
    """Read training.pt; None if there is none yet. Raises CheckpointError if it is damaged, or if weights lie alone."""
    path = run / TRAINING
    if not path.is_file():
        if (run / WEIGHTS).is_file():
            raise CheckpointError(f"{run}: holds weights, and no {TRAINING} to go on from; train into another folder")
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return Progress(epochs=content["epochs"], state=content["state"])
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({_first_line(error)}); remove {run} and train again") from error


def load_model(run: Path) -> tuple[Grounder[Any], RunSettings]:
    """A run's model, ready for inference on the CPU, and its settings. Raises CheckpointError."""
    settings = load_settings(run)
    path = run / WEIGHTS
    if not path.is_file():
        raise CheckpointError(
            f"{run}: its training ended before its first epoch did; go on with: gkcmn-pipe train --out {run}"
        )
    model = build_model(settings.config.model)
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or of another model ({_first_line(error)}); train again") from error
    return model.eval(), settings


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
