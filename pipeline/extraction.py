"""Extract features into a store: open the store, find the missing videos, and extract them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.errors import MissingInputError
from extract.extraction import OnClips, VideoOutcome, extract_videos, pending, shared_backbone, store_settings
from extract.io.outputs import check_outside_stores
from extract.store.feature_store import FeatureStore
from extract.video.inputs import VideoInput, find_videos
from pipeline.config import Config
from pipeline.device import resolve_device


def failed_videos(place: str) -> list[VideoInput]:
    """Return the videos for which a store contains a failure.

    Args:
        place: path or URL of the store.

    Raises:
        MissingInputError: the store contains no failure.
        StoreError: there is no store, or its list of failures is damaged.
    """
    store = FeatureStore.open(place)
    failures = store.failures()
    if not failures:
        raise MissingInputError(f"{store.place}: keeps no failure; name the videos to extract")
    return [VideoInput(path=Path(failure.source), key=failure.key) for failure in failures]


@dataclass(frozen=True, kw_only=True)
class ExtractionResult:
    """Result of `extract_features`."""

    store: str
    """Path or URL of the store."""
    done: list[VideoOutcome]
    """Videos that were extracted by this call."""
    failed: list[VideoOutcome]
    """Videos that could not be extracted; the store contains the reasons."""
    skipped: int
    """Number of videos that the store already contained."""

    @property
    def clips(self) -> int:
        """The number of clips that were extracted by this call."""
        return sum(outcome.clips for outcome in self.done)


def extract_features(
    paths: str | Path | Iterable[str | Path],
    store: str | Path | None = None,
    config: Config | None = None,
    *,
    root: str | Path | None = None,
    retry_failed: bool = False,
    redo: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_clips: OnClips = lambda *_: None,
    on_video: Callable[[VideoOutcome], None] = lambda _: None,
) -> ExtractionResult:
    """Extract the I3D features of videos into a store, which is created if it does not exist.

    A video that fails does not stop the others.

    Args:
        paths: video files, folders, globs, and .txt files with one path per line.
        store: path or URL of the store; None uses `config.paths.store`.
        config: settings, from `load_config`; None uses the defaults.
        root: folder to which keys are relative. With None, they are relative to the folder given in `paths`, and the
            key of a video given as a file is its name.
        retry_failed: whether to extract the videos for which the store contains a failure; `paths` must be empty.
        redo: whether to extract videos again that the store already contains.
        workers: number of processes on this machine.
        scheduler: address of a dask scheduler whose workers extract the videos.
        on_start: called with the number of videos to extract.
        on_clips: called with a video's key, the number of its clips done, and their total number.
        on_video: called with the outcome of each video.

    Raises:
        MissingInputError: a path does not exist, a folder contains no video, or there is no failure to retry.
        StoreError: the store has other settings, or cannot be written.
        WeightsError: the weights of the backbone cannot be read.
        ValueError: `retry_failed` is given together with `paths`.
    """
    config = config or Config()
    if store is not None:
        config = replace(config, paths=replace(config.paths, store=str(store)))
    place = config.paths.store
    if "://" not in place:
        check_outside_stores(Path(place), itself=False)
    names = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if retry_failed and names:
        raise ValueError("retry_failed takes no paths")
    videos = failed_videos(place) if retry_failed else find_videos(names, root=Path(root) if root is not None else None)
    todo, device = missing_videos(videos, config, redo=redo, elsewhere=scheduler is not None)
    on_start(len(todo))
    done: list[VideoOutcome] = []
    failed: list[VideoOutcome] = []
    for outcome in extract_videos(
        todo, place, config.extract, device=device, workers=workers, scheduler=scheduler, on_clips=on_clips
    ):
        (done if outcome.failure is None else failed).append(outcome)
        on_video(outcome)
    return ExtractionResult(store=place, done=done, failed=failed, skipped=len(videos) - len(todo))


def missing_videos(
    videos: Sequence[VideoInput], config: Config, *, redo: bool, elsewhere: bool = False
) -> tuple[list[VideoInput], str]:
    """Open or create the store, and find the videos that it lacks.

    Args:
        videos: videos to extract.
        config: resolved settings.
        redo: whether to include videos that the store already contains.
        elsewhere: whether workers on other machines extract the videos; each of them then resolves the device.

    Returns:
        The videos to extract, and the torch device.

    Raises:
        ConfigError: this machine does not have the device.
        WeightsError: the weights of the backbone cannot be read.
        StoreError: the store has other settings, is damaged, or cannot be written.
    """
    device = config.device if elsewhere else resolve_device(config.device)
    backbone = shared_backbone(config.extract.backbone, config.extract.weights, "cpu" if elsewhere else device)
    store = FeatureStore.open_for(config.paths.store, store_settings(config.extract, backbone))
    todo = list(videos) if redo else pending(videos, store, strict=config.extract.strict)
    return todo, device
