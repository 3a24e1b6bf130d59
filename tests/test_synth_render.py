"""Drawn videos: the same seed gives the same bytes, boxes hold their actor, a run can be taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from extract.errors import OutputError
from pipeline.index import read_index
from pipeline.synth import draw
from pipeline.synth.cast import SHIRTS
from pipeline.synth.render import Painter, box_of, shrink
from pipeline.synth.run import draw_videos
from pipeline.synth.script import PEOPLE

SEED = 5


@pytest.fixture(autouse=True)
def short_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "FRAMES", (32, 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short videos."""
    out = tmp_path_factory.mktemp("synth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "FRAMES", (32, 40))
        draw_videos(out, videos=2, seed=SEED)
    return out


def contents(out: Path) -> dict[str, bytes]:
    files = [out / "index.parquet", *sorted((out / "videos").glob("*.mp4"))]
    return {file.name: file.read_bytes() for file in files}


def samples(out: Path) -> list[dict[str, Any]]:
    return [line for path in sorted((out / "labels").iterdir()) for line in json.loads(path.read_text())]


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_box_holds_the_pixels_that_are_half_covered() -> None:
    mask = np.zeros((24, 32), dtype=np.bool_)
    mask[4:12, 6:14] = True  # source rows 2..5, columns 3..6
    mask[12, 14] = True  # a quarter of one more pixel
    assert box_of(mask) == (3, 2, 7, 6)
    assert box_of(np.zeros((24, 32), dtype=np.bool_)) is None


def test_shrink_averages_blocks() -> None:
    drawn = np.array([[[0, 10, 255], [1, 10, 255]], [[1, 10, 255], [1, 11, 255]]], dtype=np.uint8)
    assert shrink(drawn).tolist() == [[[1, 10, 255]]]


@pytest.mark.opengl
def test_index_describes_the_videos(folder: Path) -> None:
    assert sorted(file.name for file in (folder / "videos").iterdir()) == ["0000.mp4", "0001.mp4"]
    assert {sample["video"] for sample in samples(folder)} == {"0000.mp4", "0001.mp4"}
    for sample in samples(folder):
        start, end = sample["span"]
        count = frames_of(folder / "videos" / sample["video"])
        assert 32 <= count <= 40
        assert 0 <= start < end <= count
        assert len(sample["boxes"]) == end - start
        assert sample["frame_count"] == count
        seen = [box for box in sample["boxes"] if box is not None]
        assert len(seen) >= 0.8 * (end - start)
        for x1, y1, x2, y2 in seen:
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 240


@pytest.mark.opengl
def test_index_holds_the_labels(folder: Path) -> None:
    for label, sample in zip(samples(folder), read_index(folder / "index.parquet"), strict=True):
        assert (sample.id, sample.video, sample.query) == (label["id"], label["video"], label["query"])
        assert [None if np.isnan(box[0]) else box.tolist() for box in sample.boxes] == label["boxes"]
        assert (sample.size, sample.fps) == ((320, 240), 15)


@pytest.mark.opengl
def test_same_seed_same_bytes_and_an_interrupted_run_is_completed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    draw_videos(out, videos=1, seed=SEED)
    first = (out / "videos" / "0000.mp4").stat().st_mtime_ns
    (out / "index.parquet").unlink()
    (out / "videos" / "0001.mp4.0a1b2c3d.partial").write_bytes(b"left by a run that was killed")
    draw_videos(out, videos=2, seed=SEED)
    assert contents(out) == contents(folder)
    assert (out / "videos" / "0000.mp4").stat().st_mtime_ns == first


@pytest.mark.opengl
def test_folder_of_another_seed_is_refused(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(OutputError, match="seed"):
        draw_videos(folder, videos=2, seed=SEED + 1)
    assert contents(folder) == before


@pytest.mark.opengl
def test_box_holds_the_shirt() -> None:
    script = draw.draw_script(np.random.default_rng([SEED, 0]))
    with Painter(script) as painter:
        picture = next(painter.frames()).astype(float) / 255
        for index, actor in enumerate(script.actors):
            box = painter.boxes(index, 0, 1)[0]
            if actor.category not in PEOPLE or actor.colour == "white" or box is None:
                continue
            x1, y1, x2, y2 = box
            inside = picture[y1:y2, x1:x2].reshape(-1, 3)
            # Shade changes with the light, hue hardly does.
            shirt = np.array(SHIRTS[actor.colour])
            likeness = inside @ shirt / (np.linalg.norm(inside, axis=1) * np.linalg.norm(shirt) + 1e-6)
            assert (likeness > 0.97).mean() > 0.08, (actor.category, actor.colour)
