"""What stands between the command and extraction: the store, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from extract.errors import MissingInputError
from extract.inputs import VideoInput
from extract.run import pending, shared_backbone, store_settings
from extract.store import FeatureStore
from pipeline.config import Config
from pipeline.device import resolve_device


def failed_videos(place: str) -> list[VideoInput]:
    """Those videos whose failures a store keeps. Raises StoreError, or MissingInputError if there is none."""
    store = FeatureStore.open(place)
    failures = store.failures()
    if not failures:
        raise MissingInputError(f"{store.place}: keeps no failure; name the videos to extract")
    return [VideoInput(path=Path(failure.source), key=failure.key) for failure in failures]


def prepare(
    videos: Sequence[VideoInput], config: Config, *, redo: bool, elsewhere: bool = False
) -> tuple[str, list[VideoInput], str]:
    """Open or make the store, and find what it lacks.

    Args:
        videos: what was asked for.
        config: resolved settings.
        redo: take videos again that the store holds.
        elsewhere: other machines do the work, so that the device is theirs to find.

    Returns:
        The store's place, the videos to extract, and the torch device.

    Raises:
        GkcmnError: the weights or the store do not fit; the message says what.
    """
    device = config.device if elsewhere else resolve_device(config.device)
    backbone = shared_backbone(config.extract.backbone, config.extract.weights, "cpu" if elsewhere else device)
    store = FeatureStore.open_for(config.paths.store, store_settings(config.extract, backbone))
    todo = list(videos) if redo else pending(videos, store, strict=config.extract.strict)
    return config.paths.store, todo, device
