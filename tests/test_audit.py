"""Stores audited, mended, inspected: what is wrong is found, what is sound stays."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore

from extract.audit import audit, mend
from extract.clips import plan_clips
from extract.errors import StoreError
from extract.records import Failure, VideoRecord
from extract.statistics import channel_statistics
from extract.store import CLIPS_PER_SHARD, FeatureStore
from pipeline.figure_store import write_activations

SETTINGS = {"backbone": "inception", "clip_length": 8, "clip_stride": 4}


def write(store: FeatureStore, key: str, clips: int, features: np.ndarray | None = None) -> np.ndarray:
    frames = 4 + 4 * clips
    record = VideoRecord(
        key=key, source=f"/v/{key}", source_digest="d", width=64, height=48, fps=30.0,
        frame_count=frames, duration_s=frames / 30, decoder="decord2 3",
    )  # fmt: skip
    if features is None:
        features = np.random.default_rng(clips).random((clips, 4, 7, 7), dtype=np.float32)
        features[features < 0.5] = 0
    with store.write(key, channels=4) as writer:
        writer.append(features)
        ranges = plan_clips(frames, length=8, stride=4)
        writer.finish(record, clip_frames=ranges, frame_times=np.arange(frames + 1) / 30)
    return features.astype(np.float16)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    write(store, "good/a.mp4", CLIPS_PER_SHARD + 3)
    write(store, "b.mp4", 5)
    return tmp_path / "s.zarr"


def generation(slot: Path) -> Path:
    (found,) = (path for path in slot.iterdir() if path.is_dir())
    return found


def flip(slot: Path) -> None:
    shard = next(path for path in (generation(slot) / "i3d" / "c" / "0").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def lose_a_shard(slot: Path) -> None:
    shutil.rmtree(generation(slot) / "i3d" / "c" / "0")


def lose_the_times(slot: Path) -> None:
    shutil.rmtree(generation(slot) / "frame_times")


def lose_the_arrays(slot: Path) -> None:
    shutil.rmtree(generation(slot))


def interrupt(slot: Path) -> None:
    (slot / "zarr.json").write_text('{"attributes": {}, "zarr_format": 3, "node_type": "group"}')


def leave_a_part(slot: Path) -> None:
    (slot / "dead").mkdir()
    (slot / "dead" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')


def leave_a_stray(slot: Path) -> None:
    (slot / "dead" / "i3d").mkdir(parents=True)
    (slot / "dead" / "i3d" / "zarr.json").write_text("{")


def begin(slot: Path) -> None:
    shutil.rmtree(slot)
    slot.mkdir()


def garble_all(slot: Path) -> None:
    (slot / "zarr.json").write_bytes(bytes(40))


def garble(slot: Path) -> None:
    (generation(slot) / "i3d" / "zarr.json").write_text("{")


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (flip, "checksum|cannot be read"),
        (lose_a_shard, "pieces of its features are gone"),
        (lose_the_times, "cannot be read"),
        (lose_the_arrays, "cannot be read"),
        (interrupt, "its extraction was interrupted"),
        (leave_a_part, "lies beside it"),
        (leave_a_stray, "lies beside it"),
        (begin, "its extraction was interrupted"),
        (garble, "cannot be read"),
        (garble_all, "cannot be read"),
    ],
)
def test_harm_is_found_and_mended(place: Path, harm: Callable[[Path], None], cause: str) -> None:
    assert [fault for _, fault in audit(FeatureStore.open(place))] == [None, None]
    harm(place / "videos" / "b.mp4")
    faults = [fault for _, fault in audit(FeatureStore.open(place)) if fault is not None]
    assert [fault.key for fault in faults] == ["b.mp4"]
    assert any(part in faults[0].cause for part in cause.split("|"))
    assert mend(FeatureStore.open(place, writable=True), faults[0])
    store = FeatureStore.open(place)
    assert [fault for _, fault in audit(store) if fault is not None] == []
    assert sorted(store.keys()) == (
        ["b.mp4", "good/a.mp4"] if harm in (leave_a_part, leave_a_stray) else ["good/a.mp4"]
    )
    assert store.read("good/a.mp4").i3d.shape == (CLIPS_PER_SHARD + 3, 4, 7, 7)


def test_what_cannot_be_read_at_this_moment_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get = LocalStore.get

    async def failing(self: LocalStore, key: str, *args: Any, **options: Any) -> Any:
        if "/b.mp4/" in key and "/c/" in key:
            raise OSError(errno.EIO, "Input/output error")
        return await get(self, key, *args, **options)

    monkeypatch.setattr(LocalStore, "get", failing)
    store = FeatureStore.open(place, writable=True)
    (fault,) = (fault for _, fault in audit(store) if fault is not None)
    assert (fault.key, fault.is_passing) == ("b.mp4", True)
    assert "Input/output error" in fault.cause
    assert not mend(store, fault)
    monkeypatch.undo()
    assert [fault for _, fault in audit(FeatureStore.open(place))] == [None, None]


def test_what_was_extracted_again_meanwhile_stays(place: Path) -> None:
    flip(place / "videos" / "b.mp4")
    store = FeatureStore.open(place, writable=True)
    (fault,) = (fault for _, fault in audit(store) if fault is not None)
    write(store, "b.mp4", 5)
    assert not mend(store, fault)
    assert sorted(store.keys()) == ["b.mp4", "good/a.mp4"]


def test_a_damaged_video_of_a_long_name_is_mended(place: Path) -> None:
    key = 40 * "\u8a9e" + ".mp4"
    write(FeatureStore.open(place, writable=True), key, 2)
    (slot,) = (path for path in (place / "videos").iterdir() if path.is_dir() and "~" in path.name)
    garble_all(slot)
    store = FeatureStore.open(place, writable=True)
    (fault,) = (fault for _, fault in audit(store) if fault is not None)
    assert mend(store, fault)
    assert not slot.exists()
    assert [fault for _, fault in audit(store)] == [None, None]


def test_a_clip_of_zeros_is_a_fault(place: Path) -> None:
    features = np.ones((5, 4, 7, 7), np.float32)
    features[2] = 0
    write(FeatureStore.open(place, writable=True), "b.mp4", 5, features)
    faults = [fault for _, fault in audit(FeatureStore.open(place)) if fault is not None]
    assert [fault.cause for fault in faults] == ["a clip's features are all zero"]


def test_failures_are_kept_until_the_video_succeeds(place: Path) -> None:
    failure = Failure(key="b.mp4", source="/v/b.mp4", stage="decode", cause="it is cut short", remedy="copy it again")
    store = FeatureStore.open(place, writable=True)
    store.note_failure(failure)
    store.note_failure(failure)
    assert FeatureStore.open(place).failures() == [failure]
    assert failure.message == "/v/b.mp4: it is cut short; copy it again"
    write(store, "b.mp4", 5)
    assert FeatureStore.open(place).failures() == []


def test_statistics_are_those_of_all_values(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with pytest.raises(StoreError, match="holds no video yet"):
        channel_statistics(store)
    whole = np.concatenate([write(store, "a", 20), write(store, "b", 7)]).astype(np.float64)
    found = channel_statistics(store)
    assert found.mean == pytest.approx(whole.mean(axis=(0, 2, 3)))
    assert found.std == pytest.approx(whole.std(axis=(0, 2, 3)))
    assert found.zeros == pytest.approx((whole == 0).mean(axis=(0, 2, 3)))


@pytest.mark.parametrize("clips", [1, 13, 300])
def test_activations_are_drawn(tmp_path: Path, clips: int) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    write(store, "a", clips)
    write_activations(tmp_path / "a.png", store, "a")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
