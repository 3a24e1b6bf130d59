"""Draws the videos of all splits with their labels into a folder, in one process or several."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import OutputError
from extract.io.files import write_text
from extract.io.json_text import read_json_file
from extract.io.outputs import check_outputs
from extract.parallel import Tell, spread
from pipeline.data.index import write_index
from pipeline.errors import RenderError
from pipeline.outputs.places import drawn_output
from pipeline.outputs.recognize import is_drawn
from pipeline.synth.labels import Tube, read_labels, seen_part, write_labels
from pipeline.synth.language.sentences import SENTENCES, Sample, draw_samples
from pipeline.synth.rendering.renderer import Box, Painter
from pipeline.synth.scene.camera import HEIGHT_PIXELS, WIDTH_PIXELS
from pipeline.synth.scene.sampling import SIZES, SizeName, draw_script
from pipeline.synth.scene.script import Split
from pipeline.synth.scene.splits import SPLITS

VERSION = 6
"""Of the scenes: the same version, seed and size give the same data."""
TRIES = 200
"""Scenes that are drawn for one video before it is given up."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video to be drawn: what it shows depends on these and nothing else."""

    split: Split
    number: int
    seed: int
    size: SizeName
    sentences: int

    @property
    def name(self) -> str:
        return f"{self.split}/{self.number:04d}"

    def video(self, out: Path) -> Path:
        return out / "videos" / f"{self.name}.mp4"

    def labels(self, out: Path) -> Path:
        """The video's samples, written after the video: where they are, it is whole."""
        return out / "labels" / f"{self.name}.json"

    def is_drawn(self, out: Path) -> bool:
        return self.labels(out).is_file() and self.video(out).is_file()


def draw_videos(
    out: Path,
    *,
    counts: Mapping[Split, int],
    seed: int,
    size: SizeName = "small",
    sentences: int = SENTENCES,
    workers: int = 1,
    force: bool = False,
    on_video: Callable[[str], None] = lambda _: None,
) -> Path:
    """Draw `counts` videos of each split into out/videos/<split>, and write their samples to out/index.parquet.

    Video k of a split depends on the seed, the split, k, the size and the number of sentences alone. What is there
    already is kept, so the same command completes an interrupted one, and larger counts extend it.

    Args:
        out: the folder.
        counts: videos of each split; a split that is not named has none.
        seed: 0 or more.
        size: how long the videos are, see `draw.SIZES`.
        sentences: the most that speak of one video.
        workers: processes that draw.
        force: write into a folder that holds what was not drawn here.
        on_video: told the name of each video when it is there.

    Returns:
        The index's path.

    Raises:
        ValueError: a split or size that is not known, a negative count or seed, no video, sentence or worker.
        OutputError: the folder holds videos drawn with other arguments or of another version, or cannot be written.
        RenderError: this machine cannot draw.
    """
    _check(counts, seed, size, sentences, workers)
    videos = [
        Video(split=split, number=number, seed=seed, size=size, sentences=sentences)
        for split in SPLITS
        for number in range(counts.get(split, 0))
    ]
    _claim(out, seed, size, sentences, videos=videos, force=force)
    missing = []
    for video in videos:
        if video.is_drawn(out):
            on_video(video.name)
        else:
            missing.append(video)
    for done in spread(partial(draw_video, out=out.absolute()), missing, workers=workers):
        on_video(done.value())
    index = out / "index.parquet"
    write_index(index, [sample for video in videos for sample in read_labels(video.labels(out))])
    return index


def _check(counts: Mapping[Split, int], seed: int, size: SizeName, sentences: int, workers: int) -> None:
    unknown = sorted(set(counts) - set(SPLITS))
    if unknown:
        raise ValueError(f"no such split: {', '.join(unknown)}; there are {', '.join(SPLITS)}")
    if size not in SIZES:
        raise ValueError(f"no such size: {size}; there are {', '.join(SIZES)}")
    if any(count < 0 for count in counts.values()) or not any(counts.values()):
        raise ValueError(f"counts must be 0 or more, and one of them more than 0, not {dict(counts)}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}")
    if sentences < 1:
        raise ValueError(f"sentences must be 1 or more, not {sentences}")
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, not {workers}")


def _claim(out: Path, seed: int, size: SizeName, sentences: int, *, videos: Sequence[Video], force: bool) -> None:
    """Mark the folder with what is drawn there, or check the mark."""
    picture = [WIDTH_PIXELS, HEIGHT_PIXELS]
    mark = {"version": VERSION, "seed": seed, "size": size, "sentences": sentences, "picture": picture}
    path = out / "synth.json"
    check_outputs([drawn_output(out)], {}, force=force)
    there = _mark(out)
    if there is None:
        # Labels mark videos as drawn here; those that --force writes over are not.
        for video in videos:
            video.labels(out).unlink(missing_ok=True)
        write_text(path, json.dumps(mark) + "\n")
    elif there != mark:
        differing = ", ".join(f"{key} {there.get(key)}" for key in mark if there.get(key) != mark[key])
        raise OutputError(
            f"{out}: holds videos drawn with {differing}; use the same, name another folder, or remove this one"
        )


def _mark(out: Path) -> dict[str, Any] | None:
    """What a folder's mark says of the videos in it; None if it has no mark of ours."""
    try:
        return read_json_file(out / "synth.json") if is_drawn(out) else None
    except (OSError, ValueError):
        return None


def draw_video(video: Video, _tell: Tell, *, out: Path) -> str:
    """Draw one video and then its labels, and return its name. Raises RenderError."""
    from pipeline.media.video_writer import open_mp4

    rng = np.random.default_rng([video.seed, SPLITS.index(video.split), video.number, list(SIZES).index(video.size)])
    for _ in range(TRIES):
        script = draw_script(rng, video.split, video.size)
        samples = () if script is None else draw_samples(rng, script, video.split, most=video.sentences)
        if script is None or not samples:
            continue
        with Painter(script) as painter:
            tubes = _tubes(painter, samples)
            if not tubes:
                continue
            with open_mp4(video.video(out), width=WIDTH_PIXELS, height=HEIGHT_PIXELS, rate=script.rate) as writer:
                for frame in range(script.frames):
                    writer.write(painter.picture(frame))
        write_labels(video.labels(out), video.split, f"{video.number:04d}", tubes, script)
        return video.name
    raise RenderError(
        f"video {video.name} of seed {video.seed}: none of {TRIES} scenes shows what a sentence says; use another seed"
    )


def _tubes(painter: Painter, samples: Sequence[Sample]) -> list[Tube]:
    """Samples whose actor is seen well enough, with their boxes; each frame is segmented once for all of them."""
    boxes: list[list[Box | None]] = [[] for _ in samples]
    for frame in range(painter.script.frames):
        now = [number for number, sample in enumerate(samples) if sample.start_frame <= frame < sample.end_frame]
        if now:
            found = painter.boxes(frame, {samples[number].actor_index for number in now})
            for number in now:
                boxes[number].append(found[samples[number].actor_index])
    tubes = [seen_part(*pair, painter.script) for pair in zip(samples, boxes, strict=True)]
    return [tube for tube in tubes if tube is not None]
