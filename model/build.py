"""A configuration's model."""

from __future__ import annotations

from typing import Any

from model.baseline import Baseline
from model.config import ModelConfig
from model.gkcmn import Gkcmn
from model.grounder import Grounder


def build_model(config: ModelConfig) -> Grounder[Any]:
    """GKCMN or the baseline, with fresh weights."""
    return Baseline(config) if config.architecture == "baseline" else Gkcmn(config)
