"""Draws numbered videos with their labels into a folder, in one process or several."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import OutputError
from extract.files import write_text
from pipeline import types
from pipeline.errors import RenderError
from pipeline.index import write_index
from pipeline.plain import box_rows
from pipeline.synth.camera import HEIGHT_PIXELS, WIDTH_PIXELS
from pipeline.synth.draw import draw_script
from pipeline.synth.script import Script
from pipeline.synth.sentences import Sample, draw_samples

VERSION = 2
"""Of the scenes: the same version and seed give the same data."""
MIN_SEEN = 0.8
"""Least share of a span's frames in which the actor must be visible."""
MIN_SIDE = 0.06
"""Least length of a box's longer side, as a fraction of the picture's height, in the median."""

Label = dict[str, Any]


def draw_videos(
    out: Path,
    *,
    videos: int,
    seed: int,
    workers: int = 1,
    on_video: Callable[[str], None] = lambda _: None,
) -> Path:
    """Draw `videos` videos into out/videos, and write their samples to out/index.parquet.

    Video k depends on the seed and k alone. What is there already is kept, so the same command completes
    an interrupted one, and a larger number extends it.

    Returns:
        The index's path.

    Raises:
        OutputError: the folder holds videos of another seed or version, or cannot be written.
        RenderError: this machine cannot draw.
    """
    _claim(out, seed)
    names = [f"{number:04d}" for number in range(videos)]
    missing = [name for name in names if not (_labels(out, name).is_file() and _video(out, name).is_file())]
    for name in set(names) - set(missing):
        on_video(name)
    for name in _drawn(out, missing, seed, workers):
        on_video(name)
    index = out / "index.parquet"
    write_index(
        index,
        [_sample(label) for name in names for label in json.loads(_labels(out, name).read_text(encoding="utf-8"))],
    )
    return index


def _claim(out: Path, seed: int) -> None:
    """Mark the folder with what is drawn there, or check the mark."""
    mark = {"version": VERSION, "seed": seed, "size": [WIDTH_PIXELS, HEIGHT_PIXELS]}
    path = out / "synth.json"
    if not path.is_file():
        if (out / "index.parquet").exists() or (out / "videos").exists():
            raise OutputError(f"{out}: holds an index or videos that were not drawn here; name another folder")
        write_text(path, json.dumps(mark) + "\n")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{path}: damaged ({error}); remove {out} and draw again") from error
    if there != mark:
        differing = ", ".join(f"{key} {there.get(key)}" for key in mark if there.get(key) != mark[key])
        raise OutputError(
            f"{out}: holds videos drawn with {differing}; use the same, name another folder, or remove this one"
        )


def _video(out: Path, name: str) -> Path:
    return out / "videos" / f"{name}.mp4"


def _labels(out: Path, name: str) -> Path:
    """A video's samples, written after the video: where they are, it is whole."""
    return out / "labels" / f"{name}.json"


def _drawn(out: Path, names: list[str], seed: int, workers: int) -> Iterator[str]:
    """Draw each video, and yield its name when it is whole."""
    if workers == 1 or len(names) < 2:
        for name in names:
            yield draw_video(out, name, seed)
        return
    # A forked process cannot use its parent's OpenGL.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(names)), mp_context=spawn) as pool:
        futures = [pool.submit(draw_video, out, name, seed) for name in names]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RenderError(
                "drawing stopped: a process that draws died, perhaps for want of memory; "
                "the same command goes on, with --workers 1 if need be"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def draw_video(out: Path, name: str, seed: int) -> str:
    """Draw one video and then its labels, and return its name. Raises RenderError."""
    from pipeline.mp4 import open_mp4
    from pipeline.synth.render import Painter

    rng = np.random.default_rng([seed, int(name)])
    while True:
        script = draw_script(rng)
        samples = draw_samples(rng, script)
        if not samples:
            continue
        with Painter(script) as painter:
            boxes = [painter.boxes(sample.actor_index, sample.start_frame, sample.end_frame) for sample in samples]
            kept = [pair for pair in zip(samples, boxes, strict=True) if _is_seen(pair[1])]
            if not kept:
                continue
            with open_mp4(_video(out, name), width=WIDTH_PIXELS, height=HEIGHT_PIXELS, rate=script.rate) as writer:
                for frame in painter.frames():
                    writer.write(frame)
        labels = [_label(name, number, *pair, script) for number, pair in enumerate(kept)]
        write_text(_labels(out, name), json.dumps(labels) + "\n")
        return name


def _sample(label: Label) -> types.Sample:
    return types.Sample(
        id=label["id"],
        video=label["video"],
        query=label["query"],
        kind=label["kind"],
        segment=None,
        span=(label["span"][0], label["span"][1]),
        boxes=box_rows(label["boxes"]),
        split=None,
        size=(WIDTH_PIXELS, HEIGHT_PIXELS),
        frame_count=label["frame_count"],
        fps=label["fps"],
    )


def _is_seen(boxes: list[tuple[int, int, int, int] | None]) -> bool:
    """Whether the labelled actor is visible, and large enough, for most of its span."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in boxes if box is not None]
    return len(sides) >= MIN_SEEN * len(boxes) and bool(np.median(sides) >= MIN_SIDE * HEIGHT_PIXELS)


def _label(
    name: str, number: int, sample: Sample, boxes: list[tuple[int, int, int, int] | None], script: Script
) -> Label:
    assert sample.end_frame <= script.frames
    return {
        "id": f"{name}-{number}",
        "video": f"{name}.mp4",
        "query": sample.query,
        "kind": sample.kind,
        "span": [sample.start_frame, sample.end_frame],
        "boxes": boxes,
        "frame_count": script.frames,
        "fps": float(script.rate),
    }
