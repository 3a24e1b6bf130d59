"""Generate the videos and labels of all splits in a folder, with one or more processes."""

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
"""Version of the generator: the same version, seed and size give the same data."""
TRIES = 200
"""Maximum number of scenes that are sampled for one video."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video to render. These fields alone determine its content."""

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
        """Path of the video's samples. The file is written after the video, so its presence means both are complete."""
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
    """Render videos into out/videos/<split> and write their samples to out/index.parquet.

    Video k of a split depends only on the seed, the split, k, the size and the number of sentences. Existing videos are
    kept, so the same call resumes an interrupted one, and larger counts extend the data set.

    Args:
        out: the output folder.
        counts: number of videos of each split; a split that is not listed gets none.
        seed: the random seed, 0 or more.
        size: name of the video lengths, see `sampling.SIZES`.
        sentences: maximum number of queries per video.
        workers: number of processes that render.
        force: write into a folder that contains other files.
        on_video: called with the name of each video when it is complete.

    Returns:
        the path of the index.

    Raises:
        ValueError: an unknown split or size, a negative count or seed, or no video, sentence or worker.
        OutputError: the folder contains videos of other arguments or another version, or cannot be written.
        RenderError: rendering is not possible on this machine.
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
    """Write the arguments to synth.json, or check that an existing synth.json has the same ones."""
    picture = [WIDTH_PIXELS, HEIGHT_PIXELS]
    mark = {"version": VERSION, "seed": seed, "size": size, "sentences": sentences, "picture": picture}
    path = out / "synth.json"
    check_outputs([drawn_output(out)], {}, force=force)
    there = _mark(out)
    if there is None:
        # A label file marks a video as complete; remove those of other files that --force overwrites.
        for video in videos:
            video.labels(out).unlink(missing_ok=True)
        write_text(path, json.dumps(mark) + "\n")
    elif there != mark:
        differing = ", ".join(f"{key} {there.get(key)}" for key in mark if there.get(key) != mark[key])
        raise OutputError(
            f"{out}: contains videos made with {differing}; use the same values, use another folder, or remove this one"
        )


def _mark(out: Path) -> dict[str, Any] | None:
    """Read a folder's synth.json; None if there is none of this program."""
    try:
        return read_json_file(out / "synth.json") if is_drawn(out) else None
    except (OSError, ValueError):
        return None


def draw_video(video: Video, _tell: Tell, *, out: Path) -> str:
    """Render one video, write its labels and return its name. Raises RenderError."""
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
        f"video {video.name} of seed {video.seed}: none of {TRIES} scenes shows an event that a sentence describes; "
        "use another seed"
    )


def _tubes(painter: Painter, samples: Sequence[Sample]) -> list[Tube]:
    """Return the samples whose actor is visible enough, with boxes. Each frame is segmented once for all samples."""
    boxes: list[list[Box | None]] = [[] for _ in samples]
    for frame in range(painter.script.frames):
        now = [number for number, sample in enumerate(samples) if sample.start_frame <= frame < sample.end_frame]
        if now:
            found = painter.boxes(frame, {samples[number].actor_index for number in now})
            for number in now:
                boxes[number].append(found[samples[number].actor_index])
    tubes = [seen_part(*pair, painter.script) for pair in zip(samples, boxes, strict=True)]
    return [tube for tube in tubes if tube is not None]
