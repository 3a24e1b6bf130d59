"""Build models by name or from a configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from model.base import Grounder
from model.baseline import Baseline
from model.config import ModelConfig
from model.gkcmn import Gkcmn

MAX_PARAMETERS = 1 << 28
"""Largest number of parameters of a model: 1 GiB of float32, 500 times the paper's model."""


MODELS: dict[str, ModelConfig] = {
    "gkcmn": ModelConfig(),
    "gkcmn_plus": ModelConfig(
        interaction="words",
        temporal_pooling="attention",
        span_choice="steps",
        span_kernel=3,
        box_choice="path",
        loss_weights=(1.0, 2.0, 1.0, 0.5),
    ),
    "bm": ModelConfig(architecture="baseline"),
}
"""The paper's model, our extension of it (see docs/decisions.md), and the paper's baseline BM."""


def list_models() -> list[str]:
    """Return the names that `build_model` and `train --model` accept."""
    return list(MODELS)


def model_config(name: str, **settings: Any) -> ModelConfig:  # noqa: ANN401 - ModelConfig checks them
    """Return the configuration of a named model.

    Args:
        name: one of `list_models()`.
        settings: fields of `ModelConfig` to change, for example fused_width=32.

    Raises:
        ValueError: the name is unknown, or a value is outside its range.
        TypeError: a field is unknown.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}: unknown; known models are {', '.join(MODELS)}")
    return replace(MODELS[name], **settings)


def build_model(model: str | ModelConfig, **settings: Any) -> Grounder[Any]:  # noqa: ANN401 - ModelConfig checks them
    """Build a model with randomly initialized weights.

    Args:
        model: a name from `list_models()`, or a configuration.
        settings: fields of the configuration to change.

    Raises:
        ValueError: the name is unknown, or a value is outside its range.
        TypeError: a field is unknown.
    """
    config = model_config(model, **settings) if isinstance(model, str) else replace(model, **settings)
    return Baseline(config) if config.architecture == "baseline" else Gkcmn(config)


def state_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Return the shapes of a model's weights and buffers by name, without allocating them.

    Raises:
        ValueError: the model would have more than MAX_PARAMETERS parameters.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build_model(config).state_dict().items()}
    count = sum(shape.numel() for shape in shapes.values())
    if count > MAX_PARAMETERS:
        raise ValueError(f"a model of these widths has {count:,} parameters, over the limit of {MAX_PARAMETERS:,}")
    return shapes
