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
    from extract.store import FeatureStore as FeatureStore
    from model.build import build_model as build_model
    from model.build import list_models as list_models
    from pipeline.config import Config as Config
    from pipeline.config import load_config as load_config
    from pipeline.evaluate import evaluate as evaluate
    from pipeline.features import ExtractionResult as ExtractionResult
    from pipeline.features import extract_features as extract_features
    from pipeline.predictor import EncodedVideo as EncodedVideo
    from pipeline.predictor import Grounding as Grounding
    from pipeline.predictor import GroundingPredictor as GroundingPredictor
    from pipeline.score import Report as Report
    from pipeline.score import score_files as score
    from pipeline.train import TrainingResult as TrainingResult
    from pipeline.train import train as train

_PLACES = {
    "Config": ("pipeline.config", "Config"),
    "EncodedVideo": ("pipeline.predictor", "EncodedVideo"),
    "ExtractionResult": ("pipeline.features", "ExtractionResult"),
    "FeatureStore": ("extract.store", "FeatureStore"),
    "GkcmnError": ("extract.errors", "GkcmnError"),
    "Grounding": ("pipeline.predictor", "Grounding"),
    "GroundingPredictor": ("pipeline.predictor", "GroundingPredictor"),
    "Report": ("pipeline.score", "Report"),
    "TrainingResult": ("pipeline.train", "TrainingResult"),
    "build_model": ("model.build", "build_model"),
    "evaluate": ("pipeline.evaluate", "evaluate"),
    "extract_features": ("pipeline.features", "extract_features"),
    "list_models": ("model.build", "list_models"),
    "load_config": ("pipeline.config", "load_config"),
    "score": ("pipeline.score", "score_files"),
    "train": ("pipeline.train", "train"),
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
