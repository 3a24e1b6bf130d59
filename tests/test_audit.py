"""Stores audited, mended, inspected: what is wrong is found, what is sound stays."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore

from extract.clips import plan_clips
from extract.errors import StoreError
from extract.records import EncodedQuery, Failure, VideoRecord
from extract.store.audit import METADATA, audit, faults
from extract.store.feature_store import CLIPS_PER_SHARD, FeatureStore
from extract.store.mend import Upgrade, mend, open_mended
from extract.store.statistics import channel_statistics
from pipeline.console.activation_figure import write_activations

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
    assert faults(FeatureStore.open(place)) == []
    harm(place / "videos" / "b.mp4")
    found = faults(FeatureStore.open(place))
    assert [fault.key for fault in found] == ["b.mp4"]
    assert any(part in found[0].cause for part in cause.split("|"))
    assert mend(FeatureStore.open(place, writable=True), found[0])
    store = FeatureStore.open(place)
    assert faults(store) == []
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
    (fault,) = faults(store)
    assert (fault.key, fault.is_passing) == ("b.mp4", True)
    assert "Input/output error" in fault.cause
    assert not mend(store, fault)
    monkeypatch.undo()
    assert faults(FeatureStore.open(place)) == []


def test_what_was_extracted_again_meanwhile_stays(place: Path) -> None:
    flip(place / "videos" / "b.mp4")
    store = FeatureStore.open(place, writable=True)
    (fault,) = faults(store)
    write(store, "b.mp4", 5)
    assert not mend(store, fault)
    assert sorted(store.keys()) == ["b.mp4", "good/a.mp4"]


def test_a_damaged_video_of_a_long_name_is_mended(place: Path) -> None:
    key = 40 * "\u8a9e" + ".mp4"
    write(FeatureStore.open(place, writable=True), key, 2)
    (slot,) = (path for path in (place / "videos").iterdir() if path.is_dir() and "~" in path.name)
    garble_all(slot)
    store = FeatureStore.open(place, writable=True)
    (fault,) = faults(store)
    assert mend(store, fault)
    assert not slot.exists()
    assert faults(store) == []


def test_a_clip_of_zeros_is_a_fault(place: Path) -> None:
    features = np.ones((5, 4, 7, 7), np.float32)
    features[2] = 0
    write(FeatureStore.open(place, writable=True), "b.mp4", 5, features)
    found = faults(FeatureStore.open(place))
    assert [fault.cause for fault in found] == ["a clip's features are all zero"]


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


# Checksums


def age(place: Path) -> None:
    """Make of a store one of schema version 3, whose parts have no checksums."""
    for path in place.rglob("zarr.json"):
        content = json.loads(path.read_text())
        for name in ("checksum", "arrays"):
            content["attributes"].pop(name, None)
        if "schema_version" in content["attributes"]:
            content["attributes"]["schema_version"] = 3
        if path.parent == place / "videos":
            content["attributes"] = {}
        path.write_text(json.dumps(content))


def queries() -> dict[str, EncodedQuery]:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    return {"the man": EncodedQuery(words=("the", "man"), vectors=vectors, unknown=(), dropped=0)}


def audited(store: FeatureStore, *, repair: bool) -> int:
    """Videos that lack checksums, or were given them."""
    upgrade = Upgrade(store, is_wanted=repair)
    assert [fault for *_, fault in audit(store, upgrade.on_sound) if fault is not None] == []
    upgrade.finish()
    return upgrade.count


def test_an_older_store_is_read_extended_and_given_checksums(place: Path) -> None:
    store = FeatureStore.open(place, writable=True)
    store.add_queries("v", queries())
    store.note_failure(Failure(key="c", source="/c", stage="decode", cause="c", remedy="r"))
    whole = store.read("b.mp4")
    age(place)
    store = FeatureStore.open(place, writable=True)
    assert np.array_equal(store.read("b.mp4").i3d, whole.i3d)
    assert list(store.queries("v")) == ["the man"]
    write(store, "new.mp4", 4)
    assert audited(store, repair=False) == 2
    assert audited(store, repair=True) == 2
    store = FeatureStore.open(place)
    assert (store.needs_checksums, audited(store, repair=False)) == (True, 0)
    assert np.array_equal(store.read("b.mp4").i3d, whole.i3d)
    assert sorted(store.keys()) == ["b.mp4", "good/a.mp4", "new.mp4"]
    assert [failure.key for failure in store.failures()] == ["c"]
    assert store.queries("v") == {}  # encoded again when they are asked for


def test_an_older_store_with_a_fault_stays_as_it_is(place: Path) -> None:
    age(place)
    flip(place / "videos" / "b.mp4")
    store = FeatureStore.open(place, writable=True)
    assert [fault.key for fault in faults(store)] == ["b.mp4"]
    write(store, "b.mp4", 5)
    assert audited(store, repair=True) == 1


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"checksum"', '"cheskcum"'),
        ('"generation"', '"generatiom"'),
        ('"frame_count": 24', '"frame_count": 25'),
        ('"source_digest"', '"source_digess"'),
        ('"width": 64', '"width": "64"'),
    ],
)
def test_changed_metadata_is_an_error(place: Path, before: str, after: str, is_old: bool) -> None:
    if is_old:
        content = json.loads((place / "zarr.json").read_text())
        content["attributes"] = {"schema_version": 3, "settings": content["attributes"]["settings"]}
        (place / "zarr.json").write_text(json.dumps(content))
    path = place / "videos" / "b.mp4" / "zarr.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(StoreError, match="'b.mp4' cannot be read"):
        FeatureStore.open(place).record("b.mp4")
    assert [fault.key for fault in faults(FeatureStore.open(place))] == ["b.mp4"]


def test_a_video_under_another_s_name_is_an_error(place: Path) -> None:
    shutil.copytree(place / "videos" / "b.mp4", place / "videos" / "c.mp4")
    with pytest.raises(StoreError, match="'c.mp4' cannot be read"):
        FeatureStore.open(place).record("c.mp4")


def test_a_shard_of_another_video_is_found(place: Path) -> None:
    write(FeatureStore.open(place, writable=True), "c.mp4", 5, np.ones((5, 4, 7, 7), np.float32))
    one, other = (generation(place / "videos" / key) / "i3d" / "c" for key in ("b.mp4", "c.mp4"))
    shutil.rmtree(one)
    shutil.copytree(other, one)
    (fault,) = faults(FeatureStore.open(place))
    assert (fault.key, "values of i3d" in fault.cause) == ("b.mp4", True)


@pytest.mark.parametrize("key", ["b.mp4", "good/a.mp4"])
def test_an_empty_shard_is_no_zeros(place: Path, key: str) -> None:
    slot = place / "videos" / key.replace("/", "%2F")
    for shard in (generation(slot) / "i3d" / "c").rglob("0"):
        if shard.is_file():
            shard.write_bytes(b"")
    with pytest.raises(StoreError, match=f"'{key}' cannot be read"):
        FeatureStore.open(place).read(key)
    assert [fault.key for fault in faults(FeatureStore.open(place))] == [key]


@pytest.mark.parametrize("content", ["", "{", '{"a":' * 9999, '{"attributes": {}}', None])
def test_a_damaged_root_is_restored(place: Path, content: str | None) -> None:
    path = place / "zarr.json"
    whole = json.loads(path.read_text())
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match="verify"):
        FeatureStore.open(place)
    store, is_restored = open_mended(place)
    assert is_restored
    assert json.loads(path.read_text()) == whole
    assert store.settings == SETTINGS
    (place / "videos" / "zarr.json").unlink()
    path.unlink()
    with pytest.raises(StoreError, match="no feature store"):
        open_mended(place)


def test_the_list_of_videos_is_restored_or_said_to_be_gone(place: Path) -> None:
    (place / "videos" / "zarr.json").unlink()
    assert sorted(FeatureStore.open(place).keys()) == ["b.mp4", "good/a.mp4"]
    store = FeatureStore.open(place, writable=True)
    (fault,) = faults(store)
    assert (fault.message, mend(store, fault)) == (f"list videos: {METADATA}", "restored")
    assert faults(FeatureStore.open(place)) == []
    shutil.rmtree(place / "videos")
    with pytest.raises(StoreError, match="the list of its videos cannot be read.*it is gone.*--repair"):
        list(FeatureStore.open(place).keys())
    with pytest.raises(StoreError, match="it is gone"):
        faults(FeatureStore.open(place))


def test_damaged_queries_and_failures_are_removed(place: Path) -> None:
    store = FeatureStore.open(place, writable=True)
    store.add_queries("v", queries())
    store.note_failure(Failure(key="c", source="/c", stage="decode", cause="c", remedy="r"))
    (piece,) = (path for path in (place / "text").rglob("vectors/c/0/0") if path.is_file())
    piece.unlink()
    path = place / "failures" / "c" / "zarr.json"
    path.write_text(path.read_text().replace("decode", "worker"))
    with pytest.raises(StoreError, match=r"its queries \(v\) cannot be read"):
        store.queries("v")
    with pytest.raises(StoreError, match="the list of failures cannot be read.*checksum"):
        store.failures()
    found = faults(store)
    assert [(fault.kind, fault.key) for fault in found] == [("failure", "c"), ("queries", "v")]
    assert [mend(store, fault) for fault in found] == ["removed", "removed"]
    assert (faults(store), store.queries("v"), store.failures()) == ([], {}, [])
