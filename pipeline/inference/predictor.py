"""Load a model once and ground many queries in many videos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from extract.errors import MissingInputError
from extract.extraction import OnClips, extract_video, shared_backbone, store_settings
from extract.io.files import is_file
from extract.io.names import name_text
from extract.records import EncodedQuery, VideoFeatures, VideoRecord
from extract.store.feature_store import FeatureStore
from extract.text.encoder import QueryEncoder
from extract.text.normalize import mended
from extract.video.inputs import VideoInput
from extract.video.reader import source_digest
from model.base import Grounder
from pipeline.checkpoint import RunSettings, Use, load_model
from pipeline.data.dataset import Layout, collate, make_example
from pipeline.device import resolve_device
from pipeline.inference.predict import check_encoding, check_features, differing_settings, predict
from pipeline.inference.pretrained import SHIPPED
from pipeline.types import Span, Tube


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """A video's features in memory, ready for any number of queries."""

    path: Path
    features: VideoFeatures
    """Features averaged over the clips of each time step of the model."""
    extracted: bool
    """True if the backbone ran, False if the features came from a store."""


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """The tube that a model found for one query in one video."""

    video: Path
    query: EncodedQuery
    text: str
    """The query as given; characters that UTF-8 cannot hold are U+FFFD."""
    record: VideoRecord
    frame_times: np.ndarray
    """float64 (frame + 1,): see `extract.records.VideoFeatures`."""
    tube: Tube
    extracted: bool
    """True if the backbone ran, False if the features came from a store."""

    @property
    def span(self) -> Span:
        """Half-open [start, end) in source frames."""
        return self.tube.span

    @property
    def start_s(self) -> float:
        """Start of the span in seconds, as a player shows it."""
        return float(self.frame_times[self.tube.span[0]])

    @property
    def end_s(self) -> float:
        """End of the span in seconds, as a player shows it."""
        return float(self.frame_times[self.tube.span[1]])

    @property
    def span_s(self) -> tuple[float, float]:
        """Start and end in seconds."""
        return self.start_s, self.end_s

    @property
    def score(self) -> float:
        """Predicted overlap of the span with the true span, in [0, 1]."""
        return self.tube.score

    @property
    def boxes(self) -> np.ndarray:
        """float32 (span frame, 4), [x1, y1, x2, y2] in stored pixels of the upright frame."""
        return self.tube.boxes


class GroundingPredictor:
    """Find the tubes that queries describe. The model, the backbone and the word vectors are loaded only once."""

    def __init__(self, model: Grounder[Any], settings: RunSettings, run: Path, *, device: str) -> None:
        """Use a loaded model; `from_pretrained` loads one.

        Args:
            model: in evaluation mode.
            settings: settings that the model was trained with.
            run: folder of the training run, for error messages.
            device: torch device, such as "cpu" or "cuda:0".

        Raises:
            CheckpointError: the word vectors are not the ones that the model was trained with.
            MissingInputError: the file of word vectors does not exist.
        """
        check_encoding(settings, run)
        self.run = run
        self.device = device
        self._model = model.to(device)
        self._settings = settings

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path | None = None, *, device: str = "auto", use: Use = "last") -> Self:
        """Load a checkpoint.

        Args:
            checkpoint: folder of a training run; None loads the checkpoint that the package contains.
            device: "auto" uses a GPU if there is one; otherwise "cpu", "cuda" or "cuda:N".
            use: "last" for the weights of the run's last epoch, "best" for those of its best epoch by validation.

        Raises:
            CheckpointError: the checkpoint is missing, damaged or incompatible.
            ConfigError: the device does not exist.
        """
        resolved = resolve_device(device)
        run = SHIPPED if checkpoint is None else Path(checkpoint)
        model, settings = load_model(run, use)
        return cls(model, settings, run, device=resolved)

    @property
    def settings(self) -> RunSettings:
        """The settings that the model was trained with."""
        return self._settings

    @cached_property
    def _encoder(self) -> QueryEncoder:
        config = self._settings.config.extract
        return QueryEncoder(config.vectors, max_words=config.max_words)

    def encode_query(self, query: str) -> EncodedQuery:
        """Encode a sentence as word vectors. Raises QueryError if it has no words."""
        return self._encoder(query)

    def encode_video(
        self,
        path: str | Path,
        *,
        store: str | None = None,
        default_store: str | None = None,
        decode_timeout_s: float = 60.0,
        on_clips: OnClips = lambda *_: None,
    ) -> EncodedVideo:
        """Extract a video's features, or read them from a store.

        Args:
            path: a video file.
            store: path or URL of a feature store; features are read from it, and added to it if it lacks them.
            default_store: used in the same way if `store` is None, the store exists, and its settings match the model.
            decode_timeout_s: seconds without a frame after which the decoder is stopped.
            on_clips: called with the video's key, the number of clips done and the total.

        Raises:
            MissingInputError: the file does not exist.
            MediaError: the file is not a video, or none of its frames can be decoded.
            StoreError: the store is damaged or cannot be written.
            CheckpointError: the store was made with other extraction settings than the model was trained with.
        """
        video = Path(path)
        if not is_file(video):
            raise MissingInputError(f"{video}: no such file; check the path")
        place = store or self._fitting(default_store)
        features, extracted = self._features(video, place, decode_timeout_s, on_clips)
        return EncodedVideo(path=video, features=features, extracted=extracted)

    def predict(self, video: EncodedVideo, query: str) -> Grounding:
        """Find the tube that a query describes.

        Args:
            video: a video that this predictor's `encode_video` returned.
            query: a sentence, such as "the man in red".

        Raises:
            QueryError: the query has no words.
            PredictionError: the features or the word vectors are not finite.
        """
        encoded = self.encode_query(query)
        batch = collate([make_example(video.features, encoded, self._layout)])
        ((_, (tube,)),) = predict(self._model, [batch], self.device)
        return Grounding(
            video=video.path,
            query=encoded,
            text=mended(query),
            record=video.features.record,
            frame_times=video.features.frame_times,
            tube=tube,
            extracted=video.extracted,
        )

    @property
    def _layout(self) -> Layout:
        sizes = self._settings.config.model
        return Layout(max_steps=sizes.max_steps, channels=sizes.feature_channels)

    def _fitting(self, place: str | None) -> str | None:
        """Return the path or URL if there is a store whose features the model can use, else None."""
        store = FeatureStore.open_if_any(place) if place is not None else None
        return None if store is None or differing_settings(self._settings, store) else place

    def _features(
        self, video: Path, place: str | None, decode_timeout_s: float, on_clips: OnClips
    ) -> tuple[VideoFeatures, bool]:
        digest = source_digest(video)
        with self._store(place) as store:
            check_features(self._settings, store, self.run)
            name = name_text(video.name)
            spare_key = name_text(f"{video.stem}-{digest[:8]}{video.suffix}")
            for key in (*_possible_keys(video), spare_key):
                record = store.record(key)
                if record is not None and record.source_digest == digest:
                    return self._layout.read(store, key), False
            key = name if store.record(name) is None else spare_key
            config = replace(self._settings.config.extract, decode_timeout_s=decode_timeout_s)
            backbone = shared_backbone(config.backbone, config.weights, self.device)
            extract_video(VideoInput(path=video, key=key), store, backbone, config, on_clips)
            return self._layout.read(store, key), True

    @contextmanager
    def _store(self, place: str | None) -> Iterator[FeatureStore]:
        """Open or create the store at a path or URL; with None, create a temporary one that is deleted afterwards."""
        config = self._settings.config.extract
        if place is not None and FeatureStore.exists(place):
            yield FeatureStore.open(place, writable=True)
            return
        backbone = shared_backbone(config.backbone, config.weights, self.device)
        with TemporaryDirectory(prefix="gkcmn-") as folder:
            yield FeatureStore.open_for(place or f"{folder}/features.zarr", store_settings(config, backbone))


def _possible_keys(video: Path) -> list[str]:
    """Return the keys that extraction may have used for this file: its path relative to any of its parent folders."""
    paths = dict.fromkeys([video.absolute(), video.resolve()])  # the given path, and a symbolic link's target
    return [name_text("/".join(path.parts[start:])) for path in paths for start in range(len(path.parts) - 1, 0, -1)]
