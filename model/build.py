"""A configuration's model."""

from __future__ import annotations

from typing import Any

import torch

from model.baseline import Baseline
from model.config import ModelConfig
from model.gkcmn import Gkcmn
from model.grounder import Grounder

MAX_PARAMETERS = 1 << 28
"""Of a model: 1 GiB of float32, 500 times the paper's."""


def build_model(config: ModelConfig) -> Grounder[Any]:
    """GKCMN or the baseline, with fresh weights."""
    return Baseline(config) if config.architecture == "baseline" else Gkcmn(config)


def state_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Shapes of a model's weights and buffers by name, without memory for them.

    Raises:
        ValueError: the model would have more than MAX_PARAMETERS numbers.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build_model(config).state_dict().items()}
    count = sum(shape.numel() for shape in shapes.values())
    if count > MAX_PARAMETERS:
        raise ValueError(f"a model of these widths has {count:,} parameters, over the limit of {MAX_PARAMETERS:,}")
    return shapes
