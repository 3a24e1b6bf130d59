"""Recognize outputs of this program by their content, so that commands do not overwrite other files.

Each public function checks one file or folder. It may raise OSError or ValueError if the content cannot be read or
parsed; callers then treat the file as one of another program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from extract.io.json_text import parse_json, read_json_file
from extract.io.outputs import MADE_BY, is_store, recognized

MOST_BYTES = 2**28
"""Maximum size of a JSON file or figure that is read to recognize it; all outputs are smaller."""
LINE_BYTES = 2**24
"""Maximum length of a first line that is read to recognize a file; all outputs have shorter lines."""


def is_tube(path: Path) -> bool:
    """Return whether `ground --json` wrote a file."""
    return _has_keys(_json(path), "video", "query", "words", "span", "boxes")


def is_report(path: Path) -> bool:
    """Return whether a file is a report of `score --json` or `evaluate`."""
    return _has_keys(_json(path), "format", "samples_digest", "samples")


def is_predictions(path: Path) -> bool:
    """Return whether `evaluate` wrote a file of predictions; those of other programs differ in keys or key order."""
    line = _first_line(path)
    return isinstance(line, dict) and list(line) == ["id", "span", "boxes", "score"]


def is_findings(path: Path) -> bool:
    """Return whether `prepare` wrote a file of issues."""
    line = _first_line(path)
    return isinstance(line, dict) and set(line) == {"id", "video", "rule", "detail"}


def is_video_facts(path: Path) -> bool:
    """Return whether `prepare`, of this or another release, wrote a file of video properties."""
    content = _json(path)
    if _has_keys(content, "sha256", "videos"):
        content = content["videos"]
    return isinstance(content, dict) and all(
        _has_keys(info, "width", "height", "fps", "frame_count", "decoder") for info in content.values()
    )


def is_index(path: Path) -> bool:
    """Return whether `prepare` or `synth`, of this or another release, wrote an index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.data.index import VERSION_KEY

    try:
        with path.open("rb") as file:
            return VERSION_KEY in (pq.read_schema(file).metadata or {})
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def is_figure(path: Path) -> bool:
    """Return whether a PNG, SVG or PDF file contains this program's mark."""
    content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    return content.startswith((b"\x89PNG", b"%PDF", b"<?xml")) and MADE_BY.encode() in content


def is_overlay(path: Path) -> bool:
    """Return whether the metadata of a video contains this program's mark."""
    import av

    from extract.video.containers import open_container

    try:
        with open_container(path) as video:
            return video.metadata.get("comment") == MADE_BY
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error


def is_run(folder: Path) -> bool:
    """Return whether `train`, of this or another release, created a folder."""
    content = _json(folder / "config.json")
    if not _has_keys(content, "format", "config") or not _has_keys(content["config"], "model", "train", "extract"):
        return False
    return _has_keys(content["config"]["model"], "fused_width") and _has_keys(content["config"]["train"], "epochs")


def is_evaluation(folder: Path) -> bool:
    """Return whether `evaluate` created a folder, even if it was interrupted before it wrote the scores."""
    scores = folder / "scores.json"
    return is_report(scores) if scores.exists() else is_predictions(folder / "predictions.jsonl")


def is_drawn(folder: Path) -> bool:
    """Return whether `synth`, of this or another release, created a folder."""
    return _has_keys(_json(folder / "synth.json"), "version", "seed", "size")


def is_reproduction(folder: Path) -> bool:
    """Return whether `reproduce` created a folder, which contains a page of results or training runs."""
    pages = {"results.md": "# Results\n\nBenchmark `", "open_points.md": "# Open points, measured\n\nBenchmark `"}
    there = [name for name in pages if (folder / name).exists()]
    if there:
        return all((folder / name).read_text(encoding="utf-8").startswith(pages[name]) for name in there)
    return any(recognized(is_run, run) for run in folder.glob("runs/*/*/*") if run.is_dir())


def holds_ours(folder: Path) -> bool:
    """Return whether a folder is an output of this program or directly contains a run, an index or a feature store."""
    kinds = (is_run, is_evaluation, is_drawn, is_reproduction)
    if any(recognized(kind, folder) for kind in kinds):
        return True
    return any(
        is_store(item) or recognized(is_run, item)
        if item.is_dir()
        else item.suffix == ".parquet" and recognized(is_index, item)
        for item in folder.iterdir()
    )


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file. Raises OSError, or ValueError if it is larger than MOST_BYTES or invalid."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError("larger than any output of this program")
    return read_json_file(path, has_paths=True)


def _first_line(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Parse the first line of a JSON-lines file. Raises OSError or ValueError."""
    with path.open("rb") as file:
        return parse_json(file.readline(LINE_BYTES))


def _has_keys(content: Any, *keys: str) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(content, dict) and set(keys) <= set(content)
