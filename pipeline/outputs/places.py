"""List the output and input files of each command for `extract.io.outputs.check_outputs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from extract.io.files import is_file
from extract.io.json_text import read_json_file
from extract.io.outputs import Inputs, OutputFile, OutputFolder
from extract.video.inputs import find_videos
from pipeline.config import CONFIG_FILE, Config
from pipeline.outputs.recognize import (
    holds_ours,
    is_drawn,
    is_evaluation,
    is_findings,
    is_index,
    is_reproduction,
    is_run,
    is_video_facts,
)

RUN_FILES = ("config.json", "model.safetensors", "best.safetensors", "training.pt", "log.jsonl")


def run_output(run: Path) -> OutputFolder:
    """Return the output of `train`, in the folder `run`."""
    return OutputFolder(path=run, names=RUN_FILES, is_ours=is_run, is_ours_too=holds_ours)


def evaluation_output(out: Path) -> OutputFolder:
    """Return the output of `evaluate`, in the folder `out`."""
    names = ("predictions.jsonl", "scores.json", "scores.png")
    return OutputFolder(path=out, names=names, is_ours=is_evaluation, is_ours_too=holds_ours)


def drawn_output(out: Path) -> OutputFolder:
    """Return the output of `synth`, in the folder `out`."""
    names = ("synth.json", "index.parquet", "videos", "labels")
    return OutputFolder(path=out, names=names, is_ours=is_drawn, is_ours_too=holds_ours)


def reproduction_output(out: Path) -> OutputFolder:
    """Return the output of `reproduce`, in the folder `out`."""
    names = ("runs", "results.md", "open_points.md", "curves.png", "bars.png")
    return OutputFolder(path=out, names=names, is_ours=is_reproduction, is_ours_too=holds_ours)


def index_outputs(index: Path) -> list[OutputFile]:
    """Return the outputs of `prepare`: the index, the issues of its records, and the properties of its videos."""
    return [
        OutputFile(path=index, is_ours=is_index),
        OutputFile(path=index.with_suffix(".findings.jsonl"), is_ours=is_findings),
        OutputFile(path=index.with_suffix(".videos.json"), is_ours=is_video_facts),
    ]


def settings_inputs(file: Path | None, config: Config) -> Inputs:
    """Return the file of settings, and the files that the settings refer to.

    Args:
        file: the file of settings; None for ./gkcmn.toml.
        config: resolved settings.
    """
    extract = config.extract
    return {
        "the file of settings": [file or CONFIG_FILE],
        "the backbone's weights": [extract.weights] if extract.weights is not None else [],
        "the table of word vectors": [Path(extract.vectors)],
    }


def run_inputs(run: Path) -> Inputs:
    """Return the files of a training run, and the files that its settings refer to."""
    return {"the run's file": [run / name for name in RUN_FILES], "a file that the run needs": _named(run)}


def video_inputs(videos: Path | None) -> Inputs:
    """Return the videos to read.

    Args:
        videos: a video, a folder, a glob or a .txt file of paths, as for `features`; None for no videos.
    """
    return {"a source video": _videos(videos)} if videos is not None else {}


def _videos(place: Path) -> Iterator[Path]:
    if is_file(place):
        yield place  # a list of paths is an input too
    yield from (video.path for video in find_videos([str(place)]))


def _named(run: Path) -> Iterator[Path]:
    """Yield the files of weights and word vectors that a run's settings refer to.

    Yields nothing if the settings cannot be read; loading the run then raises the error.
    """
    try:
        content: Any = read_json_file(run / "config.json", has_paths=True)
        extract = content["config"]["extract"]
        yield from (Path(extract[key]) for key in ("weights", "vectors") if isinstance(extract[key], str))
    except (OSError, ValueError, KeyError, TypeError):
        return
