"""Grounding: one video and one sentence in, one tube out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from extract.errors import MissingInputError
from extract.files import is_file, write_text
from extract.inputs import VideoInput
from extract.names import name_text
from extract.normalize import mended
from extract.records import EncodedQuery, VideoFeatures, VideoRecord
from extract.run import OnClips, extract_video, shared_backbone, store_settings
from extract.store import FeatureStore
from extract.text import QueryEncoder
from extract.video import source_digest
from pipeline.checkpoint import RunSettings, load_model
from pipeline.dataset import Layout, collate, make_example
from pipeline.device import resolve_device
from pipeline.evaluate import check_encoding, check_features, differing_settings, predict
from pipeline.types import Tube


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """A tube, with what it answers."""

    video: Path
    query: EncodedQuery
    text: str
    """The query as it was typed; what no UTF-8 can hold is U+FFFD."""
    record: VideoRecord
    frame_times: np.ndarray
    """float64 (frame + 1,): see `extract.records.VideoFeatures`."""
    tube: Tube
    extracted: bool
    """Whether the backbone had to run; otherwise the store had the features."""

    @property
    def span_s(self) -> tuple[float, float]:
        """The span in seconds, by the times of its frames."""
        start, end = self.tube.span
        return float(self.frame_times[start]), float(self.frame_times[end])


def ground(
    video: Path,
    query: str,
    run: Path,
    *,
    device: str,
    store_place: str | None = None,
    spare_place: str | None = None,
    decode_timeout_s: float = 60.0,
    on_clips: OnClips = lambda *_: None,
) -> Grounding:
    """Find the tube that `query` speaks of.

    Args:
        video: a video file.
        query: a sentence.
        run: a trained run's folder.
        device: as `pipeline.device.resolve_device` takes it.
        store_place: a store to take the features from, and to add them to.
        spare_place: a store that is used likewise if none is named, it is there, and its settings are the run's.
        decode_timeout_s: seconds without a frame after which the decoder is killed.
        on_clips: progress of extraction.

    Raises:
        GkcmnError: something is missing or does not fit; the message says what.
    """
    device = resolve_device(device)
    if not is_file(video):
        raise MissingInputError(f"{video}: no such file; check the path")
    model, settings = load_model(run)
    check_encoding(settings, run)
    trained = settings.config.extract
    encoded = QueryEncoder(trained.vectors, max_words=trained.max_words)(query)
    place = store_place or _fitting(spare_place, settings)
    layout = Layout(max_steps=settings.config.model.max_steps, channels=settings.config.model.feature_channels)
    features, extracted = _features(video, layout, settings, run, place, device, decode_timeout_s, on_clips)
    batch = collate([make_example(features, encoded, layout)])
    ((_, (tube,)),) = predict(model, [batch], device)
    return Grounding(
        video=video,
        query=encoded,
        text=mended(query),
        record=features.record,
        frame_times=features.frame_times,
        tube=tube,
        extracted=extracted,
    )


def write_json(grounding: Grounding, path: Path) -> None:
    """Write a grounding as JSON: a box in source pixels for each frame of the span. Raises OutputError."""
    start, end = grounding.tube.span
    start_s, end_s = grounding.span_s
    record = grounding.record
    content = {
        "video": name_text(grounding.video),
        "query": grounding.text,
        "words": grounding.query.words,
        "width": record.width,
        "height": record.height,
        "fps": record.fps,
        "frame_count": record.frame_count,
        "fault": record.fault,
        "span": {"start_frame": start, "end_frame": end, "start_s": start_s, "end_s": end_s},
        "score": grounding.tube.score,
    }
    boxes = [
        {"frame": frame, "s": round(float(grounding.frame_times[frame]), 4), "box": [round(float(x), 2) for x in box]}
        for frame, box in zip(range(start, end), grounding.tube.boxes, strict=True)
    ]
    # One line a box: a person can read it, and so can grep.
    head = json.dumps(content, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(box)}" for box in boxes)
    write_text(path, f'{head},\n  "boxes": [\n{lines}\n  ]\n}}\n')


def _features(
    video: Path,
    layout: Layout,
    settings: RunSettings,
    run: Path,
    place: str | None,
    device: str,
    decode_timeout_s: float,
    on_clips: OnClips,
) -> tuple[VideoFeatures, bool]:
    """A video's features from the store, or from the backbone; and whether the backbone ran."""
    digest = source_digest(video)
    with _store(settings, place, device) as store:
        check_features(settings, store, run)
        name = name_text(video.name)
        spare_key = name_text(f"{video.stem}-{digest[:8]}{video.suffix}")
        for key in (*_possible_keys(video), spare_key):
            record = store.record(key)
            if record is not None and record.source_digest == digest:
                return layout.read(store, key), False
        taken = store.record(name) is not None
        key = spare_key if taken else name
        config = replace(settings.config.extract, decode_timeout_s=decode_timeout_s)
        backbone = shared_backbone(config.backbone, config.weights, device)
        extract_video(VideoInput(path=video, key=key), store, backbone, config, on_clips)
        return layout.read(store, key), True


def _fitting(place: str | None, settings: RunSettings) -> str | None:
    """That place, if a store lies there whose features the run can take."""
    store = FeatureStore.open_if_any(place) if place is not None else None
    return None if store is None or differing_settings(settings, store) else place


@contextmanager
def _store(settings: RunSettings, place: str | None, device: str) -> Iterator[FeatureStore]:
    """The store at that place, or one that is gone afterwards."""
    config = settings.config.extract
    if place is not None and FeatureStore.exists(place):
        yield FeatureStore.open(place, writable=True)
        return
    backbone = shared_backbone(config.backbone, config.weights, device)
    with TemporaryDirectory(prefix="gkcmn-") as folder:
        yield FeatureStore.open_for(place or f"{folder}/features.zarr", store_settings(config, backbone))


def _possible_keys(video: Path) -> list[str]:
    """Keys under which `features` may have stored this file: its path from any folder above it."""
    # As it was named, and as what a link leads to.
    paths = dict.fromkeys([video.absolute(), video.resolve()])
    return [name_text("/".join(path.parts[start:])) for path in paths for start in range(len(path.parts) - 1, 0, -1)]
