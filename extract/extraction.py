"""Extraction of many videos, in this process or in parallel with dask on several cores and machines."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from extract.clips import batched, clip_count, iter_clips, plan_clips
from extract.config import ExtractConfig
from extract.errors import GkcmnError, MediaError, MissingInputError, StoreError, StoreUnreachableError
from extract.i3d.backbone import Backbone, load_backbone
from extract.io.files import absolute, is_file, is_there
from extract.parallel import is_alone, spread
from extract.prefetch import ahead
from extract.records import Failure, Stage, VideoRecord
from extract.store.feature_store import FeatureStore
from extract.video.inputs import VideoInput
from extract.video.reader import open_video, source_digest

OnClips = Callable[[str, int, int], None]
"""Callback with a video's key, the number of clips done so far and the total number of clips."""
BATCHES_AHEAD = 2
"""Number of batches of clips that are decoded while the backbone processes the current one."""
_LOADING = threading.Lock()
"""Lock held while a backbone is loaded, so that a worker with several threads loads it only once."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoOutcome:
    """Result of extracting one video."""

    key: str
    clips: int
    """Number of extracted clips; 0 after a failure."""
    failure: Failure | None = None
    """Reason why the video could not be extracted, or None."""
    fault: str | None = None
    """Reason why an extracted video has fewer frames than its container declares, or None."""


def store_settings(config: ExtractConfig, backbone: Backbone) -> dict[str, Any]:
    """Return the settings that all videos of one store must share.

    Args:
        config: the settings of the extraction.
        backbone: the loaded backbone.
    """
    return {
        "backbone": backbone.name,
        "weights_sha256": backbone.weights_sha256,
        "preprocessing": backbone.preprocessing,
        "picture_size": config.picture_size,
        "clip_length": config.clip_length,
        "clip_stride": config.clip_stride,
    }


def extract_videos(
    videos: Sequence[VideoInput],
    place: str,
    config: ExtractConfig,
    *,
    device: str,
    workers: int = 1,
    scheduler: str | None = None,
    on_clips: OnClips = lambda *_: None,
) -> Iterator[VideoOutcome]:
    """Extract videos into a store, and yield the outcome of each video when it is finished.

    A failed video yields an outcome with its failure, which is also recorded in the store; the other videos continue.

    Args:
        videos: the videos to extract; use `pending` to skip the ones that are already extracted.
        place: path or URL of a store created by `open_for`.
        config: the settings of the extraction.
        device: torch device of every worker; each worker resolves "auto" itself.
        workers: number of processes on this machine; 1 uses this process.
        scheduler: address of a dask scheduler whose workers are used instead of `workers` local processes.
        on_clips: called to report progress within videos.

    Raises:
        GkcmnError: the local workers cannot be started, or the scheduler cannot be reached or was lost.
    """
    if not is_alone(len(videos), workers, scheduler):
        # Workers run in a different working folder, so paths must be absolute.
        place = absolute(place)
        config = replace(config, weights=config.weights.absolute() if config.weights is not None else None)
        videos = [replace(video, path=video.path.absolute()) for video in videos]
        # Start with the largest files, so that no long video is left to one worker while the others are idle.
        videos = sorted(videos, key=_size, reverse=True)
    work = partial(_outcome, place=place, config=config, device=device)
    for done in spread(work, videos, workers=workers, scheduler=scheduler, on_event=on_clips):
        # done.error is set if the worker could not start the task or died while it ran.
        failed = None if done.error is None else _failed(_failure(done.item, done.error, "worker"))
        yield _noted(failed or done.value(), place)


def pending(videos: Sequence[VideoInput], store: FeatureStore, *, strict: bool = False) -> list[VideoInput]:
    """Return the videos that the store does not contain completely and in their current version.

    A failure recorded for a video that is stored completely is removed from the store.

    Args:
        videos: the requested videos.
        store: the store to compare with.
        strict: whether to include videos that are stored as truncated.

    Raises:
        StoreUnreachableError: the store cannot be read at the moment.
        StoreError: the store contains a different video under the same key.
    """
    todo = []
    for video in videos:
        try:
            record = store.record(video.key)
        except StoreUnreachableError:
            raise
        except StoreError:
            record = None  # the stored video is damaged
        digest = None
        if record is not None:
            with suppress(MissingInputError):
                digest = source_digest(video.path)
        if record is None or digest is None:
            todo.append(video)  # an unreadable file fails later, on its own
        elif record.source_digest == digest:
            if strict and record.fault is not None:
                todo.append(video)
            else:
                store.forget_failure(video.key)
        elif record.source == os.path.realpath(video.path):
            todo.append(video)  # the file has changed since it was extracted
        else:
            raise StoreError(
                f"{video.path}: {store.place} holds another video, {record.source}, under the key "
                f"{video.key!r}; give the videos distinct keys with --root, or use another --store"
            )
    return todo


def extract_video(
    video: VideoInput,
    store: FeatureStore,
    backbone: Backbone,
    config: ExtractConfig,
    on_clips: OnClips = lambda *_: None,
) -> tuple[VideoRecord, int]:
    """Extract one video into a store.

    From a truncated video the frames that can be decoded are stored, and the record notes the truncation, unless
    `config.strict` is set. Memory use does not depend on the video's length. If an error is raised, the store keeps its
    previous content.

    Args:
        video: the video to extract.
        store: the store to write to.
        backbone: the loaded backbone.
        config: the settings of the extraction.
        on_clips: called to report progress.

    Returns:
        The record of the video, and its number of clips.

    Raises:
        MissingInputError: the file does not exist or cannot be read.
        MediaError: the video cannot be decoded, or is truncated and `config.strict` is set.
        StoreError: the store cannot be written.
    """
    digest = source_digest(video.path)
    with open_video(video.path, timeout_s=config.decode_timeout_s, size=config.picture_size) as stream:
        announced = clip_count(stream.info.frame_count, length=config.clip_length, stride=config.clip_stride)
        clips = iter_clips(stream.frames, length=config.clip_length, stride=config.clip_stride)
        on_clips(video.key, 0, announced)
        with store.write(video.key, channels=backbone.channels) as writer:
            done = 0
            with closing(ahead(batched(clips, config.batch_clips), BATCHES_AHEAD)) as batches:
                for batch in batches:
                    writer.append(backbone(batch))
                    done += len(batch)
                    on_clips(video.key, done, max(done, announced))
            if stream.fault is not None and config.strict:
                raise MediaError(f"{video.path}: {stream.fault}; copy or download it again, or leave out --strict")
            info = stream.true_info
            record = VideoRecord(
                key=video.key,
                source=os.path.realpath(video.path),
                source_digest=digest,
                fault=stream.fault,
                **asdict(info),
            )
            ranges = plan_clips(info.frame_count, length=config.clip_length, stride=config.clip_stride)
            writer.finish(record, clip_frames=ranges, frame_times=stream.frame_times)
    on_clips(video.key, done, done)
    return record, done


@lru_cache(maxsize=1)
def shared_backbone(name: str, weights: Path | None, device: str) -> Backbone:
    """Return this process's backbone, which is loaded once and used for all videos.

    Args:
        name: "inception" or "i3d_r50".
        weights: file with the weights; None selects the default ones.
        device: torch device, or "auto".

    Raises:
        DeviceError, MissingInputError, WeightsError: see `load_backbone`.
    """
    return load_backbone(name, weights=weights, device=device)


def _outcome(video: VideoInput, on_clips: OnClips, *, place: str, config: ExtractConfig, device: str) -> VideoOutcome:
    stage: Stage = "backbone"
    try:
        with _LOADING:
            backbone = shared_backbone(config.backbone, config.weights, device)
        store = FeatureStore.open_for(place, store_settings(config, backbone), create=False)
        stage = "decode"
        record, clips = extract_video(video, store, backbone, config, on_clips)
    except Exception as error:  # noqa: BLE001 - an error in one video must not stop the others
        _log.debug("%s failed", video.path, exc_info=True)
        if isinstance(error, StoreError):
            stage = "store"
        elif stage == "decode" and not isinstance(error, MediaError | MissingInputError):
            stage = "backbone"
        return _failed(_failure(video, error, stage))
    return VideoOutcome(key=video.key, clips=clips, fault=record.fault)


def _failed(failure: Failure) -> VideoOutcome:
    return VideoOutcome(key=failure.key, clips=0, failure=failure)


def _noted(outcome: VideoOutcome, place: str) -> VideoOutcome:
    """Record an outcome's failure in the store and return the outcome. A store that cannot be written is ignored."""
    if outcome.failure is not None:
        with suppress(StoreError):
            FeatureStore.open(place, writable=True).note_failure(outcome.failure)
    return outcome


def _size(video: VideoInput) -> int:
    """Return the size of a video file in bytes; 0 if the file is missing, which the worker will report."""
    return video.path.stat().st_size if is_file(video.path) else 0


def _failure(video: VideoInput, error: BaseException, stage: Stage) -> Failure:
    """Convert an error to a failure, by splitting its message "<object>: <cause>; <remedy>"."""
    source = os.path.realpath(video.path)
    text = " ".join(str(error).removeprefix(f"{video.path}: ").split())
    if os.path.islink(video.path) and not is_there(video.path):  # noqa: PTH114 - no path raises an error here
        # Record the path of the link itself: the user may repair it, and the video is then extracted from it.
        text = f"is a link that leads nowhere ({video.path.readlink()}); mend or remove it"
        source = str(video.path.absolute())
    if not isinstance(error, GkcmnError):
        text = f"{type(error).__name__}: {text}; extract it alone, and report this if it comes again"
    cause, _, remedy = text.rpartition("; ")
    return Failure(key=video.key, source=source, stage=stage, cause=cause or text, remedy=remedy)
