"""The public API of gkcmn-pipe.

Each name is imported when it is first used, so `import gkcmn_pipe` itself takes no time.

>>> import gkcmn_pipe
>>> gkcmn_pipe.list_models()
['gkcmn', 'gkcmn_plus', 'bm']
>>> model = gkcmn_pipe.build_model("gkcmn", fused_width=32)
>>> sum(weights.numel() for weights in model.parameters()) < 1_000_000
True

Find something in a video:

    from gkcmn_pipe import GroundingPredictor

    predictor = GroundingPredictor.from_pretrained()
    video = predictor.encode_video("a.mp4")
    tube = predictor.predict(video, "the man in red")
    print(tube.start_s, tube.end_s, tube.score, tube.boxes)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extract.errors import GkcmnError as GkcmnError
    from extract.store.feature_store import FeatureStore as FeatureStore
    from model.registry import build_model as build_model
    from model.registry import list_models as list_models
    from pipeline.config import Config as Config
    from pipeline.config import load_config as load_config
    from pipeline.evaluation.evaluate import evaluate as evaluate
    from pipeline.evaluation.score import Report as Report
    from pipeline.evaluation.score import score_files as score
    from pipeline.extraction import ExtractionResult as ExtractionResult
    from pipeline.extraction import extract_features as extract_features
    from pipeline.inference.predictor import EncodedVideo as EncodedVideo
    from pipeline.inference.predictor import Grounding as Grounding
    from pipeline.inference.predictor import GroundingPredictor as GroundingPredictor
    from pipeline.training.trainer import TrainingResult as TrainingResult
    from pipeline.training.trainer import train as train

_PLACES = {
    "Config": ("pipeline.config", "Config"),
    "EncodedVideo": ("pipeline.inference.predictor", "EncodedVideo"),
    "ExtractionResult": ("pipeline.extraction", "ExtractionResult"),
    "FeatureStore": ("extract.store.feature_store", "FeatureStore"),
    "GkcmnError": ("extract.errors", "GkcmnError"),
    "Grounding": ("pipeline.inference.predictor", "Grounding"),
    "GroundingPredictor": ("pipeline.inference.predictor", "GroundingPredictor"),
    "Report": ("pipeline.evaluation.score", "Report"),
    "TrainingResult": ("pipeline.training.trainer", "TrainingResult"),
    "build_model": ("model.registry", "build_model"),
    "evaluate": ("pipeline.evaluation.evaluate", "evaluate"),
    "extract_features": ("pipeline.extraction", "extract_features"),
    "list_models": ("model.registry", "list_models"),
    "load_config": ("pipeline.config", "load_config"),
    "score": ("pipeline.evaluation.score", "score_files"),
    "train": ("pipeline.training.trainer", "train"),
}
"""Where each public name is defined: its module, and its name there."""

__all__ = [  # noqa: RUF022 - in the order of use
    "GroundingPredictor",
    "EncodedVideo",
    "Grounding",
    "extract_features",
    "ExtractionResult",
    "FeatureStore",
    "train",
    "TrainingResult",
    "evaluate",
    "score",
    "Report",
    "build_model",
    "list_models",
    "Config",
    "load_config",
    "GkcmnError",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'gkcmn_pipe' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found = globals()[name] = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
