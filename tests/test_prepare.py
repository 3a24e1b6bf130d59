"""Data sets' own files into an index: every rule, on files of the published forms made here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from extract.records import VideoInfo, VideoRecord
from extract.store.feature_store import FeatureStore
from extract.video.reader import source_digest
from pipeline.data.index import read_index, write_index
from pipeline.data.jsonl import read_plain
from pipeline.errors import AnnotationError
from pipeline.prepare.build_index import prepare
from pipeline.prepare.hcstvg import hcstvg_drafts
from pipeline.prepare.jsonl import plain_drafts
from pipeline.prepare.records import Draft
from pipeline.prepare.rules import REJECTED, RULES, settle
from pipeline.prepare.vidstg import vidstg_drafts
from tests.media import moving_square, square_sample, write_index_lines, write_video

INFO = VideoInfo(width=64, height=48, fps=10.0, frame_count=40, duration_s=4.0, decoder="decord2 3")


def draft(**changes: Any) -> Draft:
    values: dict[str, Any] = {
        "id": "1", "video": "a", "query": "the man in red", "kind": "declarative", "segment": (0, 40),
        "span": (10, 20), "boxes": np.tile(np.array([4, 4, 20, 30], np.float32), (10, 1)), "split": "test",
        "size": (64, 48), "frame_count": 40, "fps": 10.0,
    }  # fmt: skip
    return Draft(**{**values, **changes})


def boxes(*changed: list[float]) -> np.ndarray:
    rows = np.tile(np.array([4, 4, 20, 30], np.float32), (10, 1))
    rows[: len(changed)] = changed
    return rows


NAN = math.nan


@pytest.mark.parametrize(
    ("changes", "rules", "kept"),
    [
        ({}, [], True),
        ({"query": "  "}, ["empty sentence"], False),
        ({"query": "?!"}, ["empty sentence"], False),
        ({"query": "\u200b\0"}, ["empty sentence"], False),
        ({"query": "\ud800 dog"}, [], True),
        ({"query": "word " * 21}, ["long sentence"], True),
        ({"span": (20, 20)}, ["empty span"], False),
        ({"span": (20, 10)}, ["empty span"], False),
        ({"segment": (0, 15)}, ["span outside segment"], False),
        ({"segment": (12, 40)}, ["span outside segment"], False),
        ({"segment": (0, 19)}, ["span cut"], True),
        ({"segment": (0, 41)}, ["segment cut"], True),
        ({"segment": None, "span": (31, 41)}, ["span cut"], True),
        ({"segment": None, "span": (32, 42)}, ["span outside video"], False),
        ({"segment": None, "span": (-1, 9)}, ["span outside video"], False),
        ({"frame_count": 42}, [], True),
        ({"frame_count": 43}, ["another video"], False),
        ({"size": (48, 64)}, ["another video"], False),
        ({"size": (128, 96)}, ["boxes scaled"], True),
        ({"boxes": boxes([-5, 4, 20, 30])}, ["boxes cut"], True),
        ({"boxes": boxes([4, 4, 4, 30], [20, 4, 4, 30], [70, 4, 80, 30])}, ["boxes cut", "boxes dropped"], True),
        ({"boxes": boxes([NAN, 4, 20, 30], [4, math.inf, 20, 30])}, ["boxes dropped"], True),
        ({"boxes": boxes([NAN] * 4)}, ["frames without box"], True),
        ({"boxes": boxes(*[[NAN] * 4] * 10)}, ["frames without box", "no box"], False),
        ({"boxes": boxes(*[[0.0] * 4] * 10)}, ["boxes dropped", "no box"], False),
        ({"boxes": None}, [], True),
    ],
)
def test_rules(changes: dict[str, Any], rules: list[str], kept: bool) -> None:
    settled = settle(draft(**changes), "a.mp4", INFO)
    assert [finding.rule for finding in settled.findings] == rules
    assert (settled.sample is not None) is kept
    assert kept is not any(rule in REJECTED for rule in rules)
    if settled.sample is not None:
        sample = settled.sample
        sample.query.encode()
        assert (sample.size, sample.frame_count, sample.fps) == ((64, 48), 40, 10.0)
        assert len(sample.boxes) == sample.span[1] - sample.span[0]
        found = sample.boxes[sample.labelled]
        assert (found[:, :2] < found[:, 2:]).all()
        assert ((found >= 0) & (found <= (64, 48, 64, 48))).all()


def test_scaled_boxes_are_in_the_video_s_pixels() -> None:
    sample = settle(draft(size=(128, 96)), "a.mp4", INFO).sample
    assert sample is not None
    assert sample.boxes[0].tolist() == [2, 2, 10, 15]


# VidSTG


def vidstg_record(vid: str, **changes: Any) -> dict[str, Any]:
    record = {
        "vid": vid, "fps": 10.0, "frame_count": 40, "width": 64, "height": 48,
        "subject/objects": [{"tid": 0, "category": "adult"}, {"tid": 1, "category": "ball"}],
        "used_relation": {"subject_tid": 0, "object_tid": 1, "predicate": "kick", "begin_fid": 8, "end_fid": 12},
        "used_segment": {"begin_fid": 4, "end_fid": 35}, "temporal_gt": {"begin_fid": 8, "end_fid": 12},
        "captions": [{"description": "the man kicks the ball.", "type": "person", "target_id": 0}],
        "questions": [{"description": "what is kicked?", "type": "object", "target_id": 1}],
    }  # fmt: skip
    return {**record, **changes}


def vidor(folder: Path, vid: str) -> None:
    def frame(number: int) -> list[dict[str, Any]]:
        sides = {"xmin": number, "ymin": 2, "xmax": number + 10, "ymax": 20}
        found: list[dict[str, Any]] = [{"tid": 0, "bbox": sides, "generated": 0, "tracker": "none"}]
        if number != 9:
            found.append({"tid": 1, "bbox": {**sides, "ymin": 10}, "generated": 1, "tracker": "kcf"})
        return found

    folder.mkdir(parents=True, exist_ok=True)
    content = {"video_id": vid, "frame_count": 40, "trajectories": [frame(number) for number in range(40)]}
    (folder / f"{vid}.json").write_text(json.dumps(content))


def test_vidstg_joins_sentences_boxes_and_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "videos" / "0001" / "123.mp4", moving_square(40))
    write_video(tmp_path / "videos" / "0001" / "short.mp4", moving_square(20))
    for vid in ("123", "short"):
        vidor(tmp_path / "vidor" / "0001", vid)
    path = tmp_path / "val_annotations.json"
    path.write_text(json.dumps([vidstg_record(vid) for vid in ("123", "short", "absent", "nobox")]))
    (tmp_path / "vidor" / "absent.json").write_text(json.dumps({"trajectories": [[]] * 40}))
    prepared = prepare(vidstg_drafts([path], tmp_path / "vidor"), tmp_path / "i.parquet", videos=tmp_path / "videos")
    assert prepared.findings == {"another video": 2, "no video": 2, "no box file": 2, "frames without box": 1}
    assert prepared.rejected == 6
    caption, question = read_index(tmp_path / "i.parquet", split="val")
    assert (caption.id, question.id) == ("val-00000-d0", "val-00000-i0")
    assert (caption.kind, question.kind) == ("declarative", "interrogative")
    assert caption.video == "0001/123.mp4"
    assert (caption.segment, caption.span) == ((4, 36), (8, 12))  # the segment's end is inclusive, the truth's is not
    assert caption.boxes.tolist() == [[x, 2, x + 10, 20] for x in range(8, 12)]
    assert question.labelled.tolist() == [True, False, True, True]
    lines = [json.loads(line) for line in prepared.account.read_text().splitlines()]
    assert {line["rule"] for line in lines} <= set(RULES)
    assert {line["id"] for line in lines if line["rule"] == "no box file"} == {"val-00003-d0", "val-00003-i0"}


def test_vidstg_alone_is_enough_for_time(tmp_path: Path) -> None:
    path = tmp_path / "test_annotations.json"
    path.write_text(json.dumps([vidstg_record("9"), vidstg_record("9")]))
    prepared = prepare(vidstg_drafts([path], None), tmp_path / "i.parquet", videos=None)
    assert prepared.counts() == {"test": {"declarative": 2, "interrogative": 2}}
    assert prepared.videos("test") == 1
    sample = read_index(tmp_path / "i.parquet")[0]
    assert (sample.video, sample.size, sample.frame_count, sample.fps) == ("9", (64, 48), 40, 10.0)
    assert not sample.labelled.any()


# HC-STVG


@pytest.mark.parametrize("version", [1, 2])
def test_hcstvg_counts_from_one_and_gives_width_and_height(tmp_path: Path, version: int) -> None:
    record: dict[str, Any] = {"bbox": [[4, 5, 10, 20], [5, 5, 10, 20], [6, 5, 0, 20]], "st_time": 0.9, "ed_time": 1.2,
                              "st_frame": 10, "img_num": 40}  # fmt: skip
    if version == 1:
        record.update(caption="The man turns.", width=64, height=48)
    else:
        record.update(English="The man turns.", img_size=[48, 64])
    path = tmp_path / ("test.json" if version == 1 else "val_v2.json")
    path.write_text(json.dumps({"7_abc.mp4": record}))
    write_video(tmp_path / "videos" / "2" / "7_abc.mp4", moving_square(40))
    prepared = prepare(hcstvg_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "videos")
    (sample,) = read_index(tmp_path / "i.parquet")
    assert sample.split == ("test" if version == 1 else "val")
    assert (sample.video, sample.query, sample.segment) == ("2/7_abc.mp4", "The man turns.", None)
    assert sample.span == (9, 12)  # three boxes from the tenth frame on
    assert sample.boxes[:2].tolist() == [[4, 5, 14, 25], [5, 5, 15, 25]]
    assert prepared.findings == {"boxes dropped": 1}  # the third has no width
    assert (sample.size, sample.frame_count) == ((64, 48), 40)


# Plain


def test_plain_is_probed_and_read_back(tmp_path: Path) -> None:
    write_video(tmp_path / "clips" / "a.mp4", moving_square(30))
    lines = [
        square_sample("a.mp4", "the square", (8, 24), split="train"),
        square_sample("a", "by its stem", (8, 24)),
        square_sample("a.mp4", "twice", (8, 24), id="1"),
        square_sample("a.mp4", "too long", (8, 44)),
    ]
    path = write_index_lines(tmp_path / "labels.jsonl", lines)
    seen: list[tuple[int, int]] = []
    prepared = prepare(
        plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips",
        on_video=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert prepared.findings == {"duplicate id": 1, "span outside video": 1}
    first, second = read_index(tmp_path / "i.parquet")
    assert (first.video, second.video, first.split) == ("a.mp4", "a.mp4", "train")
    assert first.size == (64, 48)
    assert seen == [(0, 1), (1, 1)]
    # What is known of a video is not asked again.
    prepare(plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips",
            on_video=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert seen[2:] == [(1, 1)]


def test_an_unreadable_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_text("no video")
    path = write_index_lines(tmp_path / "labels.jsonl", [square_sample("a.mp4", "the square", (8, 24))])
    with pytest.raises(AnnotationError, match=r"no usable sample \(unreadable video: 1\); see .*findings.jsonl"):
        prepare(plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips")
    assert "not a video" in (tmp_path / "i.findings.jsonl").read_text()
    assert not (tmp_path / "i.parquet").exists()


def test_what_extraction_found_is_truer_than_a_head(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clips" / "a.mp4", moving_square(30))
    store = FeatureStore.open_for(tmp_path / "s.zarr", {})
    # As of a file that is damaged after its twentieth frame.
    record = VideoRecord(
        key="a.mp4", source=str(video), source_digest=source_digest(video), fault="it ends there", width=64, height=48,
        fps=10.0, frame_count=20, duration_s=2.0, decoder="PyAV",
    )  # fmt: skip
    with store.write("a.mp4", channels=4) as writer:
        writer.append(np.zeros((1, 4, 7, 7), np.float32))
        writer.finish(record, clip_frames=np.array([[0, 20]]), frame_times=np.arange(21) / 10)
    lines = [square_sample("a.mp4", "the square", (8, 18)), square_sample("a.mp4", "later", (15, 25))]
    path = write_index_lines(tmp_path / "labels.jsonl", lines)
    prepared = prepare(plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips", store=store)
    assert prepared.findings == {"span outside video": 1}
    assert [sample.frame_count for sample in prepared.samples] == [20]
    # Another file of that name is looked at.
    write_video(video, moving_square(40))
    assert prepare(plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips", store=store).rejected == 0


def test_a_name_that_tells_no_split_is_an_error(tmp_path: Path) -> None:
    told = pytest.raises(AnnotationError, match=r"my\.json: its name begins with none of train, val, test")
    with told:
        list(vidstg_drafts([tmp_path / "my.json"], None))
    with told:
        list(hcstvg_drafts([tmp_path / "my.json"]))


def test_a_sentence_may_hold_a_line_separator(tmp_path: Path) -> None:
    line = json.dumps(square_sample("a.mp4", "the square\u2028moves", (8, 24)), ensure_ascii=False)
    (tmp_path / "l.jsonl").write_text(f"{line}\n", encoding="utf-8")
    assert [sample.query for sample in read_plain(tmp_path / "l.jsonl")] == ["the square\u2028moves"]


# The file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_index_lines(
        tmp_path / "l.jsonl",
        [
            square_sample("a.mp4", "die Frau läuft", (0, 3), segment=[0, 9], kind="interrogative"),
            {**square_sample("b.mp4", "the dog", (5, 8)), "boxes": [None, [1, 2, 3, 4.5], None]},
        ],
    )
    samples = read_plain(path)
    write_index(tmp_path / "i.parquet", samples)
    for one, two in zip(samples, read_index(tmp_path / "i.parquet"), strict=True):
        assert np.array_equal(one.boxes, two.boxes, equal_nan=True)
        assert (one.id, one.video, one.query, one.kind, one.segment, one.span, one.split, one.size) == (
            two.id, two.video, two.query, two.kind, two.segment, two.span, two.split, two.size,
        )  # fmt: skip
    # Any reader of Parquet has it.
    rows = pq.read_table(tmp_path / "i.parquet").to_pylist()
    assert rows[1]["boxes"] == [None, [1, 2, 3, 4.5], None]


def test_a_file_that_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("x")
    pq.write_table(pq.read_table(_other(tmp_path)), tmp_path / "other.parquet")
    for name, cause in (("text", "not a Parquet file"), ("other", "not an index"), ("absent", "no index")):
        with pytest.raises(AnnotationError, match=f"{name}.parquet: {cause}"):
            read_index(tmp_path / f"{name}.parquet")


def _other(folder: Path) -> Path:
    import pyarrow as pa

    pq.write_table(pa.table({"x": [1]}), folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "no readable JSON"),
        ("{}", "holds no list"),
        ('[{"vid": "1"}]', "record 0: has no 'used_segment'"),
        ('[{"vid": 1}]', "record 0: 'vid' is '1'"),
        ("[7]", "record 0: has no 'vid'"),
    ],
)
def test_a_file_of_another_data_set(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "test_annotations.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=f"test_annotations.json: {cause}"):
        list(vidstg_drafts([path], None))


def test_hcstvg_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    for content, cause in (
        ("[]", "holds no object"),
        ('{"a.mp4": {}}', "'a.mp4': has no 'bbox'"),
        ('{"a.mp4": {"bbox": [[1, 2, 3]]}}', "boxes are"),
        ('{"a.mp4": {"bbox": [], "st_frame": 1, "img_num": 4, "caption": "x", "img_size": [0]}}', "img_size"),
        ('{"a.mp4": {"bbox": [], "st_frame": 1, "img_num": 4, "caption": "x", "width": 9, "height": 0}}', "is 9x0"),
    ):
        path.write_text(content)
        with pytest.raises(AnnotationError, match=cause):
            list(hcstvg_drafts([path]))


def test_the_page_on_data_lists_every_rule() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    for rule, meaning in RULES.items():
        assert f"| {rule} | {meaning} |" in page
