"""The benchmark data: synthetic videos and their features, cached and shared by all runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from extract.errors import GkcmnError
from extract.extraction import extract_videos
from extract.video.inputs import find_videos
from pipeline.config import Config
from pipeline.data.index import read_index
from pipeline.data.queries import ensure_queries
from pipeline.extraction import missing_videos
from pipeline.synth.generate import VERSION, draw_videos
from pipeline.synth.scene.script import Split

Size = Literal["small", "full"]
COUNTS: dict[Size, Mapping[Split, int]] = {
    "small": {"train": 200, "val": 16, "test": 30, "test-unseen-words": 12, "test-unseen-combinations": 12},
    "full": {"train": 2000, "val": 200, "test": 300, "test-unseen-words": 150, "test-unseen-combinations": 150},
}
"""Number of videos in each split. Each video has up to twelve queries."""
SEED = 0

OnProgress = Callable[[str, int, int], None]
"""Progress callback: (name of the task, items done, total number of items)."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Location of the benchmark data."""

    name: str
    """Size and version; the same name means the same videos."""
    index: Path
    """The index file of all splits."""
    store: str
    """Path of the feature store."""


def ensure_benchmark(
    size: Size, cache: Path, config: Config, *, workers: int, force: bool = False, on_progress: OnProgress
) -> Benchmark:
    """Render the videos and extract the features that the cache does not contain yet.

    After an interruption, the next call continues.

    Args:
        size: "small" or "full".
        cache: folder for videos and features.
        config: provides the extraction settings and the device.
        workers: number of processes that render; on a CPU, also the number that extract.
        force: write into a cache folder that contains other files.
        on_progress: called after each video.

    Returns:
        the location of the data.

    Raises:
        RenderError: rendering is not possible on this machine.
        GkcmnError: the features of a video could not be extracted.
    """
    name = f"{size}-{VERSION}"
    folder = cache / name
    counts = COUNTS[size]
    drawn = 0

    def on_video(_: str) -> None:
        nonlocal drawn
        drawn += 1
        on_progress("render videos", drawn, sum(counts.values()))

    index = draw_videos(folder, counts=counts, seed=SEED, size=size, workers=workers, force=force, on_video=on_video)
    store = str(folder / "features.zarr")
    config = replace(config, paths=replace(config.paths, store=store))
    videos = find_videos([str(folder / "videos")])
    todo, device = missing_videos(videos, config, redo=False)
    done = len(videos) - len(todo)
    at_once = workers if device == "cpu" else 1
    for outcome in extract_videos(todo, store, config.extract, device=device, workers=at_once):
        if outcome.failure is not None:
            raise GkcmnError(outcome.failure.message)
        done += 1
        on_progress("extract features", done, len(videos))
    # Encode all queries here, so that parallel runs do not each encode and write them.
    ensure_queries((sample.query for sample in read_index(index)), store, config.extract)
    return Benchmark(name=name, index=index, store=store)
