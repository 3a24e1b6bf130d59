"""Extraction of many videos, in this process or spread by dask over cores and machines."""

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
"""Called with a video's key, its clips done so far and its clips in all."""
BATCHES_AHEAD = 2
"""Of clips, decoded while the backbone is at work."""
_LOADING = threading.Lock()
"""Held while a backbone is loaded, of which a worker with several threads needs one."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoOutcome:
    """What became of one video."""

    key: str
    clips: int
    failure: Failure | None = None
    """Why it was not extracted."""
    fault: str | None = None
    """Why it has fewer frames than its file announces, if it was extracted all the same."""


def store_settings(config: ExtractConfig, backbone: Backbone) -> dict[str, Any]:
    """What must be equal for two videos' features to belong in one store."""
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
    """Extract each video into the store at `place`, and yield what became of it as it ends.

    A video that fails is an outcome with its failure, which the store keeps too; the others go on.

    Args:
        videos: what to extract; see `pending` for leaving out what is done.
        place: path or URL of a store that `open_for` has made.
        config: how.
        device: torch device of every worker; "auto" is each worker's to resolve.
        workers: processes on this machine; 1 is this process itself.
        scheduler: address of a dask scheduler whose workers take the place of `workers`.
        on_clips: progress within videos.
    """
    if not is_alone(len(videos), workers, scheduler):
        # A worker has a working folder of its own.
        place = absolute(place)
        config = replace(config, weights=config.weights.absolute() if config.weights is not None else None)
        videos = [replace(video, path=video.path.absolute()) for video in videos]
        # Largest first, so that no worker is left with a long video when the others are done.
        videos = sorted(videos, key=_size, reverse=True)
    work = partial(_outcome, place=place, config=config, device=device)
    for done in spread(work, videos, workers=workers, scheduler=scheduler, on_event=on_clips):
        # What a worker could not even begin, or did not survive.
        failed = None if done.error is None else _failed(_failure(done.item, done.error, "worker"))
        yield _noted(failed or done.value(), place)


def pending(videos: Sequence[VideoInput], store: FeatureStore, *, strict: bool = False) -> list[VideoInput]:
    """Those videos that the store does not hold whole, as they are now.

    Args:
        videos: what is wanted.
        store: what there is.
        strict: whether a video that broke off is not whole.

    Raises:
        StoreError: the store holds another video under the same key.
    """
    todo = []
    for video in videos:
        try:
            record = store.record(video.key)
        except StoreUnreachableError:
            raise
        except StoreError:
            record = None  # damaged
        digest = None
        if record is not None:
            with suppress(MissingInputError):
                digest = source_digest(video.path)
        if record is None or digest is None:
            todo.append(video)  # what cannot be read fails by itself
        elif record.source_digest == digest:
            if strict and record.fault is not None:
                todo.append(video)
            else:
                store.forget_failure(video.key)
        elif record.source == os.path.realpath(video.path):
            todo.append(video)  # the file has changed since
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
    """Extract one video into the store, and return what it is, and its number of clips.

    Of a video that breaks off what came is taken, and the record says so, unless `config.strict`.

    Memory does not grow with the video's length. Raises MediaError or StoreError; the store then holds what it
    held before.
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
    """The backbone of this process, loaded once for all its videos."""
    return load_backbone(name, weights=weights, device=device)


def _outcome(video: VideoInput, on_clips: OnClips, *, place: str, config: ExtractConfig, device: str) -> VideoOutcome:
    stage: Stage = "backbone"
    try:
        with _LOADING:
            backbone = shared_backbone(config.backbone, config.weights, device)
        store = FeatureStore.open_for(place, store_settings(config, backbone), create=False)
        stage = "decode"
        record, clips = extract_video(video, store, backbone, config, on_clips)
    except Exception as error:  # noqa: BLE001 - whatever ends one video does not end the others
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
    """Keep an outcome's failure in the store. Where that cannot be written, the outcome alone tells of it."""
    if outcome.failure is not None:
        with suppress(StoreError):
            FeatureStore.open(place, writable=True).note_failure(outcome.failure)
    return outcome


def _size(video: VideoInput) -> int:
    """Bytes of a video's file; 0 where it is gone, which it is the worker's to tell."""
    return video.path.stat().st_size if is_file(video.path) else 0


def _failure(video: VideoInput, error: BaseException, stage: Stage) -> Failure:
    """Take an error's message, "<what>: <cause>; <remedy>", apart."""
    source = os.path.realpath(video.path)
    text = " ".join(str(error).removeprefix(f"{video.path}: ").split())
    if os.path.islink(video.path) and not is_there(video.path):  # noqa: PTH114 - no path raises an error here
        # The link itself may be mended, and is then what is tried again.
        text = f"is a link that leads nowhere ({video.path.readlink()}); mend or remove it"
        source = str(video.path.absolute())
    if not isinstance(error, GkcmnError):
        text = f"{type(error).__name__}: {text}; extract it alone, and report this if it comes again"
    cause, _, remedy = text.rpartition("; ")
    return Failure(key=video.key, source=source, stage=stage, cause=cause or text, remedy=remedy)
