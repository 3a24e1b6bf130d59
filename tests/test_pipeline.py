"""The index, targets and decoding, on samples made here."""

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extract.clips import plan_clips
from extract.errors import StoreError
from extract.records import EncodedQuery, VideoFeatures, VideoRecord
from extract.store.feature_store import FeatureStore
from pipeline.data.dataset import GroundingDataset, Layout, collate, make_example, make_target
from pipeline.data.index import read_index
from pipeline.data.sampler import GroupedSampler
from pipeline.data.time_axis import step_axis
from pipeline.errors import AnnotationError
from pipeline.evaluation.evaluate import with_facts
from pipeline.evaluation.metrics import score_samples
from pipeline.evaluation.predictions import tube_prediction
from pipeline.inference.tubes import boxes_over, decode_tube, span_frames
from pipeline.types import Sample, Span
from tests.media import square_sample, write_index_lines


def record(frames: int = 100) -> VideoRecord:
    return VideoRecord(
        key="a.mp4", source="/a.mp4", source_digest="d", width=64, height=48, fps=10.0,
        frame_count=frames, duration_s=frames / 10, decoder="decord2 3",
    )  # fmt: skip


def sample(span: Span, boxes: np.ndarray | None = None) -> Sample:
    if boxes is None:
        at = np.arange(*span, dtype=np.float32)
        boxes = np.stack([at * 0.1, at * 0 + 10, at * 0.1 + 16, at * 0 + 26], axis=1).astype(np.float32)
    return Sample(
        id="1", video="a.mp4", query="the square", kind="declarative", segment=None, span=span,
        boxes=boxes, split=None,
    )  # fmt: skip


# The index


def test_an_index_is_read(tmp_path: Path) -> None:
    lines = [
        square_sample("a.mp4", "the square", (2, 6)),
        square_sample("b.mp4", "who moves?", (0, 3), id="x", kind="interrogative", segment=[0, 9], split="val"),
    ]
    lines[0]["boxes"][1] = None
    first, second = read_index(write_index_lines(tmp_path / "i.jsonl", lines))
    assert (first.id, first.span, first.split) == ("1", (2, 6), None)
    assert np.isnan(first.boxes[1]).all()
    assert first.boxes[0].tolist() == [4, 12, 20, 28]
    assert (second.id, second.kind, second.segment) == ("x", "interrogative", (0, 9))
    # What is in no split is training's, and not another's.
    assert [s.id for s in read_index(tmp_path / "i.jsonl", split="train")] == ["1"]
    assert [s.id for s in read_index(tmp_path / "i.jsonl", split="val")] == ["x"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"span": [6, 6]}, "span .* is empty"),
        ({"span": [-1, 3]}, "span: .*no frames"),
        ({"span": [2, 7]}, "4 boxes for a span of 5"),
        ({"query": ""}, "query"),
        ({"vidoe": "x"}, "vidoe"),
        ({"boxes": [[1, 2, 3]] * 4}, "boxes.0"),
        ({"boxes": [[5, 5, 5, 9]] * 4}, "box .* is empty"),
        ({"boxes": [None] * 4}, "no frame of the span has a box"),
        ({"segment": [10, 20]}, "exceeds the segment"),
        ({"segment": [0, 4]}, "exceeds the segment"),
        ({"kind": "song"}, "kind"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    lines = [square_sample("a.mp4", "q", (0, 1)), {**square_sample("a.mp4", "q", (2, 6)), **change}]
    with pytest.raises(AnnotationError, match=f"i.jsonl:2: .*{cause}"):
        read_index(write_index_lines(tmp_path / "i.jsonl", lines))


def test_an_index_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    with pytest.raises(AnnotationError, match="no index.*gkcmn-pipe synth"):
        read_index(path)
    path.write_text("\n")
    with pytest.raises(AnnotationError, match="holds no samples"):
        read_index(path)
    path.write_text("{not json\n")
    with pytest.raises(AnnotationError, match="i.jsonl:1: the line"):
        read_index(path)
    path.write_text("[1]\n")
    with pytest.raises(AnnotationError, match="i.jsonl:1"):
        read_index(path)
    path.write_text(
        json.dumps(square_sample("a", "q", (0, 1), id="x")) + "\n" + json.dumps(square_sample("a", "q", (0, 1), id="x"))
    )
    with pytest.raises(AnnotationError, match="'x' stands twice"):
        read_index(path)


# Targets and decoding


@given(st.data())
def test_a_true_target_decodes_to_its_tube(data: st.DataObject) -> None:
    frames = data.draw(st.integers(40, 400))
    start = data.draw(st.integers(0, frames - 12))
    end = data.draw(st.integers(start + 12, frames))
    truth = sample((start, end))
    axis = step_axis(plan_clips(frames, length=8, stride=4), None, max_steps=200)
    target = make_target(truth, axis, record(frames))
    tube = decode_tube(span_frames(target.span, axis), target.boxes, axis, record(frames), score=1.0)
    assert tube.span == (start, end)
    (score,) = score_samples([(truth, tube_prediction(truth, tube))])
    assert score.tiou == 1
    assert score.viou > 0.9  # a linear track loses only what lies beyond the outermost steps


def test_steps_outside_the_span_or_without_boxes_are_not_supervised() -> None:
    truth = sample((20, 60))
    truth.boxes[12:28] = np.nan  # frames 32 to 47 are unlabelled
    axis = step_axis(plan_clips(100, length=8, stride=4), None, max_steps=200)
    mask = make_target(truth, axis, record()).box_mask
    assert axis.centres[mask].tolist() == [20, 24, 28, 32, 48, 52, 56]


def test_a_span_between_two_steps_supervises_the_nearest() -> None:
    axis = step_axis(plan_clips(100, length=8, stride=4), None, max_steps=200)
    target = make_target(sample((21, 23)), axis, record())
    assert axis.centres[target.box_mask].tolist() in ([20], [24])


def test_boxes_come_from_the_steps_inside_the_span() -> None:
    axis = step_axis(plan_clips(40, length=8, stride=4), None, max_steps=200)
    boxes = np.zeros((axis.steps, 4), np.float32)
    boxes[axis.centres < 16] = 1.0  # what steps outside say must not leak in
    assert (boxes_over((16, 30), boxes, axis, record(40)) == 0).all()


def test_a_batch_pads_and_keeps_order() -> None:
    def example(frames: int, words: int) -> Any:
        clips = plan_clips(frames, length=8, stride=4)
        video = VideoFeatures(
            record=record(frames),
            i3d=np.full((len(clips), 2, 7, 7), frames, np.float16),
            clip_frames=clips,
            frame_times=np.arange(frames + 1) / 10,
        )
        query = EncodedQuery(words=("w",) * words, vectors=np.ones((words, 3), np.float32), unknown=(), dropped=0)
        laid = make_example(video, query, Layout(max_steps=200))
        return replace(laid, target=make_target(sample((8, 20)), laid.axis, laid.record))

    short, long = example(20, 2), example(40, 5)
    batch = collate([short, long, replace(short, words=long.words)])
    assert batch.inputs.features.shape == (2, 9, 2, 7, 7)
    assert batch.inputs.video.tolist() == [0, 1, 0]
    assert batch.inputs.step_mask.sum(dim=1).tolist() == [4, 9, 4]
    assert batch.inputs.word_mask.sum(dim=1).tolist() == [2, 5, 5]
    assert batch.target is not None
    assert batch.target.box_mask.shape == (3, 9)
    assert (batch.inputs.features[0, 4:] == 0).all()


def test_a_video_with_other_channels_than_the_model_s_is_refused(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", {"clip_length": 8})
    clips = plan_clips(8, length=8, stride=4)
    with store.write("v.mp4", channels=4) as writer:
        writer.append(np.ones((1, 4, 7, 7), np.float16))
        writer.finish(replace(record(8), key="v.mp4"), clip_frames=clips, frame_times=np.arange(9) / 10)
    assert Layout(max_steps=200, channels=4).read(store, "v.mp4").i3d.shape == (1, 4, 7, 7)
    with pytest.raises(StoreError, match=r"'v\.mp4' has 4 channels, the model takes 8"):
        Layout(max_steps=200, channels=8).read(store, "v.mp4")


def test_labels_that_do_not_fit_the_stored_video_are_refused(tmp_path: Path) -> None:
    store = FeatureStore.open_for(tmp_path / "s.zarr", {"clip_length": 8})
    with store.write("a.mp4", channels=1) as writer:
        writer.append(np.ones((1, 1, 7, 7), np.float16))
        writer.finish(record(8), clip_frames=np.array([[0, 8]]), frame_times=np.arange(9) / 10)
    cases: list[tuple[Sample, str]] = [
        (sample((4, 9)), "span: .* ends after its video of 8 frames"),
        (sample((0, 2), np.full((2, 4), np.nan, np.float32)), "has no box"),
        (replace(sample((0, 2)), size=(128, 96)), r"size: .* of 128x96, and 'a\.mp4' in .* is 64x48; prepare"),
    ]
    for bad, cause in cases:
        with pytest.raises(AnnotationError, match=rf"^i\.parquet: sample '1': {cause}"):
            GroundingDataset(with_facts([bad], store), store, {}, max_steps=8, cache_mb=0, index="i.parquet")


def test_training_takes_sentences_of_a_video_side_by_side() -> None:
    videos = [name for name, count in {"a": 5, "b": 1, "c": 9}.items() for _ in range(count)]
    samples = [replace(sample((8, 20)), video=video) for video in videos]
    sampler = GroupedSampler(samples, 4, torch.Generator().manual_seed(3))
    first, second = list(sampler), list(sampler)
    for order in (first, second):
        assert sorted(order) == list(range(len(samples)))
        runs = [len(list(run)) for _, run in groupby(order, key=lambda index: videos[index])]
        assert len(runs) <= 6  # groups of 4 and 1, 1, and 4, 4 and 1; two of a video may meet
    assert first != second
    assert len(list(GroupedSampler(samples, 1, torch.Generator()))) == len(sampler) == 15
