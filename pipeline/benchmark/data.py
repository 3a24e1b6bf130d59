"""The benchmark: drawn videos and their features, kept outside the clone and shared by all runs."""

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
"""Videos of each split; up to twelve sentences speak of one."""
SEED = 0

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Where the benchmark lies."""

    name: str
    """Of its size and its version: the same name, the same videos."""
    index: Path
    store: str


def ensure_benchmark(
    size: Size, cache: Path, config: Config, *, workers: int, force: bool = False, on_progress: OnProgress
) -> Benchmark:
    """Draw and extract what the cache lacks. An interrupted call is completed by the next.

    Args:
        size: how much of it.
        cache: folder for videos and features.
        config: gives the settings of extraction, and its device.
        workers: processes that draw; on a CPU as many extract.
        force: write into a folder of the cache that holds what was not drawn here.
        on_progress: told of progress.

    Raises:
        RenderError: this machine cannot draw.
        GkcmnError: a video could not be extracted.
    """
    name = f"{size}-{VERSION}"
    folder = cache / name
    counts = COUNTS[size]
    drawn = 0

    def on_video(_: str) -> None:
        nonlocal drawn
        drawn += 1
        on_progress("draw videos", drawn, sum(counts.values()))

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
    # At once for all runs: side by side each would write its own.
    ensure_queries((sample.query for sample in read_index(index)), store, config.extract)
    return Benchmark(name=name, index=index, store=store)
