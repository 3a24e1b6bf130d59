"""Find the videos of a data set by key or by stem, and probe each of them once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from extract.errors import MediaError, MissingInputError
from extract.io.files import write_text
from extract.io.json_text import json_digest, read_json_file
from extract.io.names import name_text
from extract.records import VideoInfo
from extract.store.feature_store import FeatureStore
from extract.video.inputs import VideoInput, find_videos
from extract.video.reader import probe, source_digest

KEPT_EVERY = 50
"""Number of probed videos after which the results are saved; an interruption loses at most these."""


class VideoFolder:
    """A folder of videos whose facts are cached in a file between runs.

    If the feature store has a video, its record is used: a container header may overstate the frame count.
    """

    def __init__(self, folder: Path, memory: Path, store: FeatureStore | None, *, timeout_s: float) -> None:
        """List the videos of a folder.

        Args:
            folder: folder that contains the videos, also in subfolders.
            memory: JSON file that caches the facts between runs.
            store: feature store with records of the videos; None if there is none.
            timeout_s: seconds without a response after which a video counts as unreadable.

        Raises:
            MissingInputError: the folder contains no video.
        """
        self._inputs = {video.key: video for video in find_videos([str(folder)])}
        self._by_stem: dict[str, list[VideoInput]] = {}
        for video in self._inputs.values():
            self._by_stem.setdefault(name_text(video.path.stem), []).append(video)
        self._memory = memory
        self._store = store
        self._timeout_s = timeout_s
        self._known: dict[str, VideoInfo | str] = {}

    def find(self, name: str) -> VideoInput | str:
        """Return the video with this key or this stem, or else the reason why there is not exactly one."""
        if name in self._inputs:
            return self._inputs[name]
        found = self._by_stem.get(name, [])
        if len(found) == 1:
            return found[0]
        return "two files have that name" if found else "no such file"

    def info(self, video: VideoInput) -> VideoInfo | str:
        """Return the facts that `probe_all` found about a video, or the reason why it cannot be read."""
        return self._known[video.key]

    def probe_all(self, videos: Iterable[VideoInput], on_video: Callable[[int, int], None]) -> None:
        """Probe each video that is neither in the feature store nor in the cache file.

        Args:
            videos: the videos whose facts are needed.
            on_video: called with the number of videos done and the total.
        """
        kept = self._load()
        wanted = list({video.key: video for video in videos}.values())
        digests: dict[str, str] = {}
        self._known = {}
        for video in wanted:
            try:
                digest = digests[video.key] = source_digest(video.path)
            except MissingInputError as error:
                self._known[video.key] = str(error)
                continue
            if (info := self._extracted(video, digest) or kept.get(digest)) is not None:
                self._known[video.key] = info
        todo = [video for video in wanted if video.key not in self._known]
        on_video(len(wanted) - len(todo), len(wanted))
        # Each probe runs in a process of its own, so threads are enough to use all cores.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            tasks = {pool.submit(self._look, video): video for video in todo}
            try:
                for number, task in enumerate(as_completed(tasks), start=1):
                    key = tasks[task].key
                    self._known[key] = kept[digests[key]] = task.result()
                    on_video(len(wanted) - len(todo) + number, len(wanted))
                    if number % KEPT_EVERY == 0 or number == len(todo):
                        self._save(kept)
            finally:
                pool.shutdown(cancel_futures=True)

    def _look(self, video: VideoInput) -> VideoInfo | str:
        try:
            return probe(video.path, timeout_s=self._timeout_s)
        except (MediaError, MissingInputError) as error:
            return str(error)

    def _extracted(self, video: VideoInput, digest: str) -> VideoInfo | None:
        record = self._store.record(video.key) if self._store is not None else None
        return record if record is not None and record.source_digest == digest else None

    def _load(self) -> dict[str, VideoInfo | str]:
        try:
            content = _Memory.model_validate(read_json_file(self._memory))
        except (OSError, ValueError):
            return {}  # missing, damaged or of another version: probe all videos again
        if content.sha256 != json_digest(_facts(content.videos)):
            return {}
        return {**content.videos}

    def _save(self, known: dict[str, VideoInfo | str]) -> None:
        """Write the facts about readable videos to the cache file."""
        videos = _facts(known)
        write_text(self._memory, json.dumps({"sha256": json_digest(videos), "videos": videos}) + "\n")


class _Memory(BaseModel):
    """Content of the cache file. The checksum detects altered numbers, which no other check could."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    sha256: str
    videos: dict[str, VideoInfo]


def _facts(videos: Mapping[str, VideoInfo | str]) -> dict[str, dict[str, Any]]:
    """Return the facts about readable videos by digest. Unreadable ones are left out, so the next run retries them."""
    return {digest: asdict(info) for digest, info in videos.items() if isinstance(info, VideoInfo)}
