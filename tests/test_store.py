import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import xarray

from extract.clips import plan_clips
from extract.errors import DecodeTimeoutError, StoreError, StoreMismatchError
from extract.io.files import shown
from extract.records import EncodedQuery, Failure, VideoRecord
from extract.store.audit import METADATA, faults
from extract.store.feature_store import CLIPS_PER_SHARD, FeatureStore, VideoWriter

SETTINGS = {"backbone": "inception", "clip_stride": 4}


def record(key: str, frames: int = 1200) -> VideoRecord:
    return VideoRecord(
        key=key, source=f"/v/{key}", source_digest="d", width=64, height=48, fps=29.97,
        frame_count=frames, duration_s=40.04, decoder="decord2 3",
    )  # fmt: skip


def maps(clips: int, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((clips, channels, 7, 7), dtype=np.float32)


def finish(writer: VideoWriter, key: str, clips: int) -> None:
    frames = 4 + 4 * clips
    ranges = plan_clips(frames, length=8, stride=4)
    writer.finish(record(key, frames), clip_frames=ranges, frame_times=np.arange(frames + 1) / 30)


def write(store: FeatureStore, key: str, features: np.ndarray) -> None:
    with store.write(key, channels=features.shape[1]) as writer:
        for start in range(0, len(features), 3):
            writer.append(features[start : start + 3])
        finish(writer, key, len(features))


@pytest.mark.parametrize("clips", [1, 16, CLIPS_PER_SHARD, CLIPS_PER_SHARD * 2 + 5])
def test_what_is_written_is_read(tmp_path: Path, clips: int) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    features = maps(clips)
    write(store, "a", features)
    video = FeatureStore.open(tmp_path / "s.zarr").read("a")
    assert np.array_equal(video.i3d, features.astype(np.float16))
    assert video.clip_frames.shape == (clips, 2)
    assert np.array_equal(video.frame_times, np.arange(4 * clips + 5) / 30)
    assert video.record == record("a", 4 + 4 * clips)


def test_means_of_clips_are_read(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    features = maps(CLIPS_PER_SHARD + 9).astype(np.float16)
    write(store, "a", features)
    video = store.read("a", lambda clips: np.array([[3, 50], [50, len(clips)]]))
    expected = [features[start:end].mean(axis=0, dtype=np.float32) for start, end in ((3, 50), (50, len(features)))]
    assert np.array_equal(video.i3d, np.stack(expected).astype(np.float16))
    assert len(video.clip_frames) == len(features)


@pytest.mark.parametrize("key", ["a/b.mp4", "ünï code.mp4", "..", ".x", "a%2Fb", "new\nline", "-dash", "zarr.json"])
def test_any_key(tmp_path: Path, key: str) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    write(store, key, maps(2))
    assert list(store.keys()) == [key]
    assert store.read(key).record.key == key


def test_what_is_not_complete_is_not_there(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with (
        pytest.raises(RuntimeError, match="stopped"),
        store.write("a", channels=4) as writer,
    ):
        writer.append(maps(20))
        raise RuntimeError("stopped")
    assert list(store.keys()) == []
    assert store.record("a") is None
    with pytest.raises(StoreError, match="holds no video 'a'.*gkcmn-pipe features"):
        store.read("a")
    write(store, "a", maps(3))
    assert len(store.read("a").i3d) == 3


def test_the_old_features_stay_until_the_new_are_whole(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    old = maps(3)
    write(store, "a", old)
    with pytest.raises(RuntimeError, match="stopped"), store.write("a", channels=4):
        raise RuntimeError("stopped")
    assert np.array_equal(store.read("a").i3d, old.astype(np.float16))
    # What a killed writer leaves is of no account, and gone with the next.
    (tmp_path / "s.zarr/videos/a/dead").mkdir()
    (tmp_path / "s.zarr/videos/a/dead/zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert np.array_equal(store.read("a").i3d, old.astype(np.float16))
    write(store, "a", old + 1)
    assert np.array_equal(store.read("a").i3d, (old + 1).astype(np.float16))
    assert len([path for path in (tmp_path / "s.zarr/videos/a").iterdir() if path.is_dir()]) == 1


def test_two_writers_of_one_video_leave_one_of_them_whole(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with pytest.raises(StoreError, match="another process"), store.write("a", channels=4) as first:
        first.append(maps(3))
        write(store, "a", maps(3) + 1)
        finish(first, "a", 3)
    assert np.array_equal(store.read("a").i3d, (maps(3) + 1).astype(np.float16))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 3}', '{"a":' * 9999])
def test_damaged_metadata_is_one_error_or_does_no_harm(tmp_path: Path, content: str) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", {**SETTINGS, "clip_length": 8})
    write(store, "a", maps(3))
    store.add_queries("v", {"the man": query("the", "man")})
    for path in sorted((tmp_path / "s.zarr").rglob("zarr.json")):
        whole = path.read_text()
        path.write_text(content)
        try:
            damaged = FeatureStore.open(tmp_path / "s.zarr")
            assert damaged.settings == {**SETTINGS, "clip_length": 8}
            assert (damaged.record("a"), list(damaged.keys()), damaged.channels) == (record("a", 16), ["a"], 4)
            assert damaged.read("a")
            assert damaged.queries("v")
            assert damaged.failures() == []
            # What says nothing that is not known is only other tools' to miss.
            assert [fault.cause for fault in faults(damaged)] == [METADATA], path
            continue
        except StoreError as raised:
            message = str(raised)
        finally:
            path.write_text(whole)
        assert str(tmp_path) in message
    assert len(store.read("a").i3d) == 3


@pytest.mark.parametrize("place", ["nosuch://bucket/s.zarr", "gs://bucket/s.zarr"])
def test_a_place_that_fsspec_cannot_reach(place: str) -> None:
    for open_it in (FeatureStore.open, FeatureStore.exists):
        with pytest.raises(StoreError, match=place):
            open_it(place)
    with pytest.raises(StoreError, match=place):
        FeatureStore.open_for(place, SETTINGS)


@pytest.mark.parametrize("clips", [2, 37, CLIPS_PER_SHARD + 1, CLIPS_PER_SHARD * 3])
def test_a_video_is_few_files(tmp_path: Path, clips: int) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", {**SETTINGS, "clip_length": 8})
    write(store, "a", maps(clips))
    assert np.array_equal(store.read("a").i3d, maps(clips).astype(np.float16))
    assert faults(store) == []
    shards = [path for path in (tmp_path / "s.zarr").glob("videos/a/*/i3d/c/**/*") if path.is_file()]
    assert len(shards) == -(-clips // CLIPS_PER_SHARD)


def test_several_may_make_a_store_at_once(tmp_path: Path) -> None:
    for turn in range(8):
        place = tmp_path / f"{turn}.zarr"
        start = threading.Barrier(4)

        def open_it(place: Path = place, start: threading.Barrier = start) -> dict[str, object]:
            start.wait()
            return dict(FeatureStore.open_for(place, SETTINGS).settings)

        with ThreadPoolExecutor(4) as pool:
            opened = [pool.submit(open_it) for _ in range(4)]
        assert [future.result() for future in opened] == [SETTINGS] * 4


def test_a_damaged_failure_is_forgotten(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    store.note_failure(Failure(key="a", source="/a", stage="decode", cause="c", remedy="r"))
    (tmp_path / "s.zarr/failures/a/zarr.json").write_text("{")
    store.forget_failure("a")
    assert store.failures() == []


def test_a_list_of_failures_that_is_gone_is_one_error_and_loses_no_video(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    failure = Failure(key="a", source="/a", stage="decode", cause="c", remedy="r")
    store.note_failure(failure)
    shutil.rmtree(tmp_path / "s.zarr/failures")
    told = pytest.raises(StoreError, match="the list of failures cannot be read.*it is gone.*verify")
    with told:
        store.note_failure(failure)
    with told:
        store.failures()
    write(store, "a", maps(3))
    assert len(store.read("a").i3d) == 3


def test_a_video_that_was_not_finished_is_none(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with pytest.raises(StoreError, match="not finished"), store.write("a", channels=4) as writer:
        writer.append(maps(3))
    with (
        pytest.raises(StoreError, match="3 clips came for 4 ranges"),
        store.write("a", channels=4) as writer,
    ):
        writer.append(maps(3))
        finish(writer, "a", 4)
    assert store.record("a") is None


def test_a_reader_s_error_stays_what_it_is(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with pytest.raises(DecodeTimeoutError), store.write("a", channels=4):
        raise DecodeTimeoutError("a.mp4: silent; mend it")
    with (
        pytest.raises(StoreError, match="cannot be written.*No space"),
        store.write("a", channels=4),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_values_that_cannot_be_kept(tmp_path: Path, value: float) -> None:
    features = maps(2)
    features[1, 0, 0, 0] = value
    with pytest.raises(StoreError, match="NaN or values beyond float16"):
        write(FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS), "a", features)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    write(store, "a", maps(8))
    shard = next(path for path in (tmp_path / "s.zarr/videos/a").glob("*/i3d/c/0/**/*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[500] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StoreError, match="'a' cannot be read.*--redo"):
        store.read("a")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with pytest.raises(StoreMismatchError, match="clip_stride is 4 there and 2 now"):
        FeatureStore.open_for(tmp_path / "s.zarr", {**SETTINGS, "clip_stride": 2})


def test_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note").touch()
    for name in ("absent", "file", "folder"):
        with pytest.raises(StoreError, match=name):
            FeatureStore.open(tmp_path / name)
    for name in ("file", "folder"):
        with pytest.raises(StoreError, match=name):
            FeatureStore.open_for(tmp_path / name, SETTINGS)
    assert (tmp_path / "file").read_text() == "x"


def test_repair_is_named_only_where_a_copy_of_the_root_can_restore_it(tmp_path: Path) -> None:
    FeatureStore.open_for(tmp_path, SETTINGS)
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="verify .* --repair"):
        FeatureStore.open(tmp_path)
    (tmp_path / "videos" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="; extract the features again into a new store"):
        FeatureStore.open(tmp_path)


def test_a_store_in_memory(tmp_path: Path) -> None:
    store = FeatureStore.open_for("memory://tests/s.zarr", SETTINGS)
    write(store, "a", maps(2))
    assert list(FeatureStore.open("memory://tests/s.zarr").keys()) == ["a"]


def query(*words: str, unknown: tuple[str, ...] = ()) -> EncodedQuery:
    vectors = np.array([[len(word), ord(word[0])] for word in words], np.float32)
    return EncodedQuery(words=words, vectors=vectors, unknown=unknown, dropped=0)


def test_queries_are_added_to_those_there(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    assert store.queries("v") == {}
    store.add_queries("v", {"the man": query("the", "man")})
    store.add_queries("v", {"a zq": query("a", "zq", unknown=("zq",))})
    found = FeatureStore.open(tmp_path / "s.zarr").queries("v")
    assert {text: entry.words for text, entry in found.items()} == {
        "the man": ("the", "man"),
        "a zq": ("a", "zq"),
    }
    assert found["a zq"].unknown == ("zq",)
    assert np.array_equal(found["the man"].vectors, [[3, ord("t")], [3, ord("m")]])
    assert store.queries("other") == {}


def test_xarray_opens_a_video_by_its_dimensions(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s", SETTINGS)
    write(store, "deep/a b.mp4", maps(3))
    group = f"videos/{quote('deep/a b.mp4', safe=' ')}"
    record = xarray.open_zarr(tmp_path / "s", group=group, consolidated=False, chunks=None)
    group = f"{group}/{record.attrs['generation']}"
    arrays = xarray.open_zarr(tmp_path / "s", group=group, consolidated=False, chunks=None)
    assert arrays["i3d"].dims == ("clip", "channel", "y", "x")
    assert arrays.sizes["clip"] == 3
    assert np.array_equal(arrays["i3d"], store.read("deep/a b.mp4").i3d)


@pytest.mark.parametrize(
    "key", ["名" * 90 + ".mp4", "/".join(["a long folder's name"] * 20) + "/b.mp4"], ids=["wide", "deep"]
)
def test_a_name_too_long_for_a_folder(tmp_path: Path, key: str) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", {**SETTINGS, "clip_length": 8})
    for name in (key, key + "x"):
        write(store, name, maps(3))
    assert sorted(store.keys()) == sorted(store.all_keys()) == sorted((key, key + "x"))
    assert store.read(key).record.key == key
    assert faults(store) == []


def test_maps_of_another_shape_are_refused(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    with (
        pytest.raises(StoreError, match=r"maps are \(4, 8, 8\)"),
        store.write("a", channels=4) as writer,
    ):
        writer.append(np.ones((3, 4, 8, 8), np.float32))


def test_pieces_that_are_gone_are_no_zeros(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    write(store, "a", maps(3))
    for piece in (tmp_path / "s.zarr").rglob("i3d/c/0/*"):
        shutil.rmtree(piece)
    for read in (store.read, store.lazy, lambda key: list(store.pieces(key))):
        with pytest.raises(StoreError, match="pieces of its features are gone"):
            read("a")


def test_a_video_that_is_whole_has_no_failure(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    failure = Failure(key="a", source="/v/a", stage="decode", cause="c", remedy="r")
    store.note_failure(failure)
    store.note_failure(replace(failure, cause="another"))
    assert [noted.cause for noted in store.failures()] == ["another"]
    store.forget_failure("a")
    assert store.failures() == []


def test_credentials_are_not_shown() -> None:
    assert shown("ftp://user:secret@host/a?sig=secret") == "ftp://host/a"
    assert shown("s3://bucket/a.zarr") == "s3://bucket/a.zarr"
    assert shown("a/b@c?d") == "a/b@c?d"
    assert shown("memory://") == "memory://"


@pytest.mark.parametrize("name", ["a::b", "file:", "s3:", "a.zip", os.fsdecode(b"caf\xe9.zarr")])
def test_a_path_is_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    source = os.fsdecode(b"/videos/caf\xe9.mp4")
    store = FeatureStore.open_for(name, SETTINGS)
    with store.write("a", channels=4) as writer:
        writer.append(maps(1))
        ranges = plan_clips(8, length=8, stride=4)
        writer.finish(replace(record("a", 8), source=source), clip_frames=ranges, frame_times=np.arange(9) / 30)
    assert (tmp_path / name / "zarr.json").is_file()
    found = FeatureStore.open(name).record("a")
    assert found is not None
    assert found.source == source
    with pytest.raises(StoreError) as caught:
        FeatureStore.open_for("ftp://user:secret@127.0.0.1:1/a", SETTINGS)
    assert "secret" not in str(caught.value)


def test_a_damaged_list_of_queries_is_one_line_to_a_writer_too(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", SETTINGS)
    store.add_queries("v", {"the man": query("the", "man")})
    (tmp_path / "s.zarr" / "text" / "zarr.json").write_text('{"a')
    with pytest.raises(StoreError, match=r"the list of its queries cannot be read .*verify .* --repair"):
        store.add_queries("w", {"the man": query("the", "man")})
