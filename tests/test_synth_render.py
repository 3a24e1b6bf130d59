"""Tests of rendering: the same seed gives the same bytes, boxes contain their actor, and a run can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from extract.errors import OutputError
from pipeline.data.index import read_index
from pipeline.errors import RenderError
from pipeline.synth import generate as run
from pipeline.synth.generate import draw_videos
from pipeline.synth.labels import read_labels, seen_part
from pipeline.synth.language.sentences import Sample
from pipeline.synth.rendering.renderer import Painter, box_of, shrink
from pipeline.synth.rendering.world import load_mujoco
from pipeline.synth.scene import sampling as draw
from pipeline.synth.scene.catalogue import PAINTS
from pipeline.synth.scene.script import PEOPLE, Script, Split

pytestmark = pytest.mark.slow

SEED = 5
SHORT = draw.SceneSize(frames=(32, 40), rates=(10,), seconds=(3, 4))
COUNTS: dict[Split, int] = {"train": 2, "test-unseen-combinations": 1}


@pytest.fixture(autouse=True)
def short_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(draw.SIZES, "small", SHORT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three short synthetic videos."""
    out = tmp_path_factory.mktemp("synth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(draw.SIZES, "small", SHORT)
        draw_videos(out, counts=COUNTS, seed=SEED)
    return out


def contents(out: Path) -> dict[str, bytes]:
    files = [out / "index.parquet", *sorted((out / "videos").glob("*/*.mp4"))]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def samples(out: Path) -> list[dict[str, Any]]:
    paths = [*sorted((out / "labels" / "train").iterdir()), *sorted((out / "labels").glob("test*/*"))]
    return [line for path in paths for line in json.loads(path.read_text())]


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def script_of(number: int) -> Script:
    rng = np.random.default_rng([SEED, number])
    return next(script for script in (draw.draw_script(rng, "train", "small") for _ in range(99)) if script is not None)


def test_box_contains_the_mask() -> None:
    mask = np.zeros((12, 16), dtype=np.bool_)
    mask[2:6, 3:7] = True
    assert box_of(mask) == (3, 2, 7, 6)
    assert box_of(np.zeros((12, 16), dtype=np.bool_)) is None


def test_shrink_averages_blocks() -> None:
    drawn = np.array([[[0, 10, 255], [1, 10, 255]], [[1, 10, 255], [1, 11, 255]]], dtype=np.uint8)
    assert shrink(drawn).tolist() == [[[1, 10, 255]]]


def test_span_is_shortened_to_the_visible_part() -> None:
    script = script_of(0)
    sample = Sample(query="the dog runs.", kind="declarative", actor_index=0, start_frame=2, end_frame=12)
    box = (10, 10, 40, 40)
    found = seen_part(sample, [None, None, *[box] * 7, None], script)
    assert found is not None
    assert (found[0].start_frame, found[0].end_frame) == (4, 11)
    assert found[1] == [box] * 7
    assert seen_part(sample, [box, *[None] * 8, box], script) is None
    assert seen_part(sample, [(10, 10, 14, 14)] * 10, script) is None
    assert seen_part(sample, [None] * 10, script) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"counts": {"train": -1}}, "counts"),
        ({"counts": {}}, "counts"),
        ({"counts": {"dev": 1}}, "no such split: dev"),
        ({"seed": -1}, "seed"),
        ({"size": "huge"}, "no such size: huge"),
        ({"workers": 0}, "workers"),
    ],
)
def test_invalid_arguments_are_rejected(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"counts": {"train": 1}, "seed": 0} | wrong
    with pytest.raises(ValueError, match=message):
        draw_videos(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_video_without_a_valid_scene_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "draw_script", lambda *_: None)
    with pytest.raises(RenderError, match="video val/0000 of seed 5"):
        draw_videos(tmp_path / "out", counts={"val": 1}, seed=SEED)


@pytest.mark.opengl
def test_index_describes_the_videos(folder: Path) -> None:
    names = ["test-unseen-combinations/0000.mp4", "train/0000.mp4", "train/0001.mp4"]
    assert sorted(contents(folder)) == ["index.parquet", *(f"videos/{name}" for name in names)]
    assert sorted({sample["video"] for sample in samples(folder)}) == names
    for sample in samples(folder):
        start, end = sample["span"]
        count = frames_of(folder / "videos" / sample["video"])
        assert 32 <= count <= 40
        assert 0 <= start < end <= count
        assert len(sample["boxes"]) == end - start
        assert sample["frame_count"] == count
        assert sample["boxes"][0] is not None
        assert sample["boxes"][-1] is not None
        seen = [box for box in sample["boxes"] if box is not None]
        assert len(seen) >= 0.8 * (end - start)
        for x1, y1, x2, y2 in seen:
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 240


@pytest.mark.opengl
def test_index_contains_the_labels(folder: Path) -> None:
    for label, sample in zip(samples(folder), read_index(folder / "index.parquet"), strict=True):
        assert (sample.id, sample.video, sample.query) == (label["id"], label["video"], label["query"])
        assert sample.id.startswith(f"{sample.split}-000")
        assert sample.video.startswith(f"{sample.split}/")
        assert [None if np.isnan(box[0]) else box.tolist() for box in sample.boxes] == label["boxes"]
        assert (sample.size, sample.fps) == ((320, 240), 10)


@pytest.mark.opengl
def test_same_seed_gives_same_bytes_and_interrupted_run_resumes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    told: list[str] = []
    draw_videos(out, counts={"train": 1}, seed=SEED)
    first = (out / "videos" / "train" / "0000.mp4").stat().st_mtime_ns
    (out / "index.parquet").unlink()
    (out / "videos" / "train" / "0001.mp4.0a1b2c3d.partial").write_bytes(b"left by a run that was killed")
    draw_videos(out, counts=COUNTS, seed=SEED, on_video=told.append)
    assert contents(out) == contents(folder)
    assert (out / "videos" / "train" / "0000.mp4").stat().st_mtime_ns == first
    assert sorted(told) == ["test-unseen-combinations/0000", "train/0000", "train/0001"]


@pytest.mark.opengl
def test_folder_of_another_seed_or_size_is_rejected(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(OutputError, match="seed"):
        draw_videos(folder, counts=COUNTS, seed=SEED + 1)
    with pytest.raises(OutputError, match="size"):
        draw_videos(folder, counts=COUNTS, seed=SEED, size="full")
    assert contents(folder) == before


@pytest.mark.opengl
def test_boxes_match_the_segmentation_of_mujoco() -> None:
    script = script_of(1)
    everybody = range(len(script.actors))
    frames = (0, script.frames // 2)
    with Painter(script) as painter:
        boxes = [painter.boxes(frame, everybody) for frame in frames]
    with Painter(script) as painter, load_mujoco().Renderer(painter.world.model, 240, 320) as renderer:
        renderer.enable_segmentation_rendering()
        for frame, found in zip(frames, boxes, strict=True):
            painter.world.pose(frame)
            renderer.update_scene(painter.world.data, "camera")
            geoms = renderer.render()[..., 0]
            owners = np.where(geoms >= 0, painter.world.owner[geoms], -1)
            assert found == {index: box_of(owners == index) for index in everybody}
            assert any(box is not None for box in found.values())


@pytest.mark.opengl
def test_boxes_match_the_camera_projection_in_every_mode() -> None:
    modes = set()
    for number in range(60):
        script = script_of(number)
        frame = script.frames - 1
        if script.camera.mode in modes:
            continue
        modes.add(script.camera.mode)
        with Painter(script) as painter:
            boxes = painter.boxes(frame, range(len(script.actors)))
        for box, actor in zip(boxes.values(), script.actors, strict=True):
            x, y = actor.actions[-1].end_m
            at = np.tile([x, y, actor.height_m / 2], (script.frames, 1, 1))
            across, down = script.camera.project(at)[frame, 0] * (320, 240)
            if box is not None and 40 < across < 280:
                assert box[0] - 12 < across < box[2] + 12
                assert box[1] - 12 < down < box[3] + 12
    assert modes == set(draw.MODES)


@pytest.mark.opengl
def test_box_contains_the_shirt() -> None:
    script = next(script for script in map(script_of, range(99)) if script.actors[0].category in PEOPLE)
    with Painter(script) as painter:
        picture = painter.picture(0).astype(float) / 255
        owners = painter.owners(0)
    checked = 0
    for index, actor in enumerate(script.actors):
        inside = picture[owners == index]
        if actor.category not in PEOPLE or actor.colour.name == "white" or len(inside) < 200:
            continue
        # Light changes the shade but hardly the hue.
        shirt = np.array(PAINTS[actor.colour.name])
        likeness = inside @ shirt / (np.linalg.norm(inside, axis=1) * np.linalg.norm(shirt) + 1e-6)
        assert (likeness > 0.97).mean() > 0.1, (actor.category, actor.colour)
        checked += 1
    assert checked


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"frame_count": 10**30}, "frame_count: it is 10"),
        ({"span": [2, 9]}, "boxes: 2 boxes for a span of 7 frames"),
        ({"span": [4, 2]}, "the span"),
        ({"boxes": [[1, 2, 3], None]}, "boxes"),
        ({"id": 7}, "id"),
    ],
)
def test_invalid_labels_are_rejected(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    label = {
        "id": "train-0000-0", "video": "train/0000.mp4", "query": "a dog runs", "kind": "declarative", "span": [2, 4],
        "boxes": [[1, 2, 30, 40], None], "frame_count": 9, "fps": 10.0, "split": "train",
    }  # fmt: skip
    path = tmp_path / "0000.json"
    path.write_text(json.dumps([label]))
    assert [sample.span for sample in read_labels(path)] == [(2, 4)]
    path.write_text(json.dumps([label | change]))
    with pytest.raises(OutputError, match=rf"0000\.json: damaged \(.*{cause}.*; remove the file and run synth again"):
        read_labels(path)
