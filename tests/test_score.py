"""The scorer: by hand, by property, against a slow reference, and on what it must refuse."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PredictionError
from pipeline.evaluation.bootstrap import estimates
from pipeline.evaluation.metrics import SampleScore, score_samples
from pipeline.evaluation.predictions import read_predictions
from pipeline.evaluation.protocols import PROTOCOLS, Protocol, compare_spans, tubedetr_frames
from pipeline.evaluation.report import compare_reports, write_report
from pipeline.evaluation.score import score
from pipeline.types import Prediction, Sample, Span

BOX = np.array([0, 0, 10, 10], np.float32)


def sample(span: Span, boxes: np.ndarray | None = None, **more: Any) -> Sample:
    values: dict[str, Any] = {
        "id": "1", "video": "a.mp4", "query": "the square", "kind": "declarative", "segment": (0, 200),
        "split": None, "size": (64, 48), "frame_count": 200, "fps": 10.0,
    }  # fmt: skip
    boxes = np.tile(BOX, (span[1] - span[0], 1)) if boxes is None else boxes
    return Sample(span=span, boxes=boxes, **{**values, **more})


def prediction(span: Span, boxes: np.ndarray | None = None, id_: str = "1") -> Prediction:
    boxes = np.tile(BOX, (max(0, span[1] - span[0]), 1)) if boxes is None else boxes
    return Prediction(id=id_, span=span, frames=np.arange(span[0], span[0] + len(boxes)), boxes=boxes)


def score_one(
    truth: Sample, found: Prediction | None, protocol: Protocol = "frames", *, temporal_gt: bool = False
) -> SampleScore:
    (result,) = score_samples([(truth, found)], protocol, temporal_gt=temporal_gt)
    return result


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 20, (count, 2))
    return np.concatenate([low, low + rng.uniform(1, 20, (count, 2))], axis=1).astype(np.float32)


def slow_scores(truth: Sample, found: Prediction) -> tuple[float, float]:
    """TIoU and vIoU, frame by frame, straight from their definitions."""
    (a, b), (c, d) = truth.span, found.span
    both = either = 0
    total = 0.0
    for frame in range(min(a, c), max(b, d)):
        in_truth, in_found = a <= frame < b, c <= frame < d
        either += in_truth or in_found
        both += in_truth and in_found
        if in_truth and in_found:
            p, q = [float(x) for x in found.boxes[frame - c]], [float(x) for x in truth.boxes[frame - a]]
            w, h = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
            inner = max(w, 0) * max(h, 0)
            total += inner / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - inner)
    return both / either, total / either


def test_by_hand() -> None:
    found = prediction((15, 25), np.tile(np.array([5, 0, 15, 10], np.float32), (10, 1)))
    result = score_one(sample((10, 20)), found)
    assert result.tiou == pytest.approx(5 / 15)
    assert result.viou == pytest.approx(5 * (1 / 3) / 15)
    assert score_one(sample((10, 20)), found, temporal_gt=True).viou == pytest.approx(1 / 3)


def test_ten_thousand_random_tubes_agree_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(10_000):
        a, b, c, d = (*sorted(rng.choice(61, 2, replace=False)), *sorted(rng.choice(61, 2, replace=False)))
        pairs.append(
            (
                sample((int(a), int(b)), random_boxes(rng, b - a)),
                prediction((int(c), int(d)), random_boxes(rng, d - c)),
            )
        )
    for (truth, found), result in zip(pairs, score_samples(pairs), strict=True):
        assert (result.tiou, result.viou) == pytest.approx(slow_scores(truth, found), abs=1e-9)


spans = st.tuples(st.integers(0, 80), st.integers(1, 80)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(spans, spans, st.integers(0, 9), st.sampled_from(PROTOCOLS), st.booleans())
def test_properties(true: Span, found: Span, seed: int, protocol: Protocol, temporal_gt: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = sample(true, random_boxes(rng, true[1] - true[0]))
    truth.boxes[rng.random(len(truth.boxes)) < 0.3] = np.nan
    truth.boxes[0] = BOX
    guess = prediction(found, random_boxes(rng, found[1] - found[0]))
    result = score_one(truth, guess, protocol, temporal_gt=temporal_gt)
    assert 0 <= result.tiou <= 1
    # TubeDETR's frames are a sample: their share may exceed that of all.
    assert 0 <= result.viou <= (1 if protocol == "tubedetr" else result.tiou + 1e-9)
    if found[1] <= true[0] or true[1] <= found[0]:
        assert temporal_gt or (result.tiou, result.viou) == (0, 0)
    perfect = score_one(truth, prediction(true, np.nan_to_num(truth.boxes)), "frames")
    assert (perfect.tiou, perfect.viou) == pytest.approx((1, 1))


@given(spans, spans, st.integers(0, 9), st.integers(0, 50))
def test_shifting_both_changes_nothing(true: Span, found: Span, seed: int, by: int) -> None:
    rng = np.random.default_rng(seed)
    truth = sample(true, random_boxes(rng, true[1] - true[0]))
    guess = prediction(found, random_boxes(rng, found[1] - found[0]))
    moved = replace(truth, span=(true[0] + by, true[1] + by))
    shifted = replace(guess, span=(found[0] + by, found[1] + by), frames=guess.frames + by)
    assert score_one(moved, shifted) == score_one(truth, guess)


def test_frames_without_a_true_box_neither_help_nor_harm() -> None:
    truth = sample((0, 10))
    truth.boxes[5:] = np.nan
    half = np.tile(np.array([0, 0, 5, 10], np.float32), (10, 1))
    assert score_one(truth, prediction((0, 10), half)).viou == pytest.approx(0.5)
    assert score_one(truth, prediction((0, 5))).viou == pytest.approx(0.5)
    assert score_one(truth, prediction((5, 10))).viou == 0
    truth.boxes[:] = np.nan
    assert math.isnan(score_one(truth, prediction((0, 10))).viou)
    assert math.isnan(score_one(truth, None).viou)


def test_key_frames_are_interpolated_and_held_beyond() -> None:
    truth = sample((0, 21), np.tile(BOX, (21, 1)) + np.arange(21, dtype=np.float32)[:, None].clip(5, 15))
    keys = Prediction(id="1", span=(0, 21), frames=np.array([5, 15]), boxes=np.stack([BOX + 5, BOX + 15]))
    assert score_one(truth, keys).viou == pytest.approx(1)


# Protocols


def test_tubedetr_s_frames() -> None:
    # 30 frames a second: every sixth; the segment's last frame is never looked at.
    assert tubedetr_frames((0, 31), 30).tolist() == [0, 6, 12, 18, 24]
    assert tubedetr_frames((0, 5), 5).tolist() == [0, 1, 2, 3]
    assert tubedetr_frames((7, 8), 30).tolist() == [7]
    many = tubedetr_frames((0, 3001), 30)
    assert len(many) == 200
    assert many[:3].tolist() == [0, 12, 30]  # 500 frames at 5 a second, thinned to 200


def test_the_worked_example_of_the_protocols_page() -> None:
    """docs/protocols.md has these numbers."""
    truth = sample((30, 60), np.tile(BOX, (30, 1)), segment=(0, 60), fps=30.0)
    found = prediction((20, 60), np.tile(BOX, (40, 1)))
    found.boxes[:15] = BOX + 20
    scores = {protocol: score_one(truth, found, protocol) for protocol in PROTOCOLS}
    expected = {"frames": (30 / 40, 25 / 40), "stcat": (29 / 39, 24 / 39), "tubedetr": (25 / 36, 4 / 6)}
    for protocol, result in scores.items():
        assert (result.tiou, result.viou) == pytest.approx(expected[protocol])
    assert compare_spans(truth, found.span, "tubedetr").predicted == (24, 55)
    page = (Path(__file__).parents[1] / "docs" / "protocols.md").read_text()
    for result in scores.values():
        assert f"{100 * result.tiou:.2f}" in page
        assert f"{100 * result.viou:.2f}" in page


def test_a_protocol_says_what_it_lacks() -> None:
    with pytest.raises(PredictionError, match="protocol tubedetr: .*rate is not known.*--videos"):
        score([sample((0, 5), fps=None)], {"1": prediction((0, 5))}, protocol="tubedetr")
    with pytest.raises(PredictionError, match="protocol stcat: .*length is not known"):
        score([sample((0, 5), segment=None, frame_count=None)], {"1": prediction((0, 5))}, protocol="stcat")


# Reports


def many(count: int, seed: int = 0) -> tuple[list[Sample], dict[str, Prediction]]:
    rng = np.random.default_rng(seed)
    samples, found = [], {}
    for number in range(count):
        start, length = int(rng.integers(0, 50)), int(rng.integers(1, 100))
        boxes = random_boxes(rng, length)
        kind = "declarative" if number % 2 else "interrogative"
        samples.append(sample((start, start + length), boxes, id=str(number), video=f"{number // 3}.mp4", kind=kind))
        found[str(number)] = prediction((start, start + length), boxes + 2, id_=str(number))
    return samples, found


def test_a_report_counts_all_and_every_part() -> None:
    samples, found = many(40)
    del found["7"]
    report = score(samples, found, thresholds=(0.1, 0.5, 0.9))
    assert report.missing == ["7"]
    assert report.scores[7] == SampleScore(tiou=0, viou=0)
    assert list(report.whole.metrics) == ["m_tIoU", "m_vIoU", "vIoU@0.1", "vIoU@0.5", "vIoU@0.9"]
    assert report.whole.metrics["m_tIoU"].mean == pytest.approx(39 / 40)
    for parts in report.groups.values():
        assert sum(part.samples for part in parts.values()) == 40
    assert set(report.trivial) == {"segment, centre box", "segment, mean box"}
    whole = np.mean([(one.span[1] - one.span[0]) / 200 for one in samples])
    assert report.trivial["segment, mean box"].metrics["m_tIoU"].mean == pytest.approx(whole)


def test_the_mean_box_is_that_of_training_in_fractions_of_the_picture() -> None:
    truth = sample((0, 200), np.tile(np.array([16, 12, 48, 36], np.float32), (200, 1)))
    elsewhere = replace(truth, size=(128, 96), boxes=truth.boxes * 2, id="2")
    for train in ([], [elsewhere]):
        trivial = score([truth], {"1": prediction((0, 1))}, train=train).trivial
        assert trivial["segment, mean box"].metrics["m_vIoU"].mean == pytest.approx(1)
        assert trivial["segment, centre box"].metrics["m_vIoU"].mean == pytest.approx(1)


def test_intervals_hold_the_mean_and_follow_videos() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((300, 1))
    videos = [str(number) for number in range(300)]
    (apart,) = estimates(values, videos)
    assert apart.low < apart.mean < apart.high
    # Ten copies of each sample in its own video say no more than one.
    (copies,) = estimates(np.repeat(values, 10, axis=0), list(np.repeat(videos, 10)))
    assert (copies.low, copies.high) == pytest.approx((apart.low, apart.high))
    # The normal approximation of the mean's error, which 300 values come near to.
    error = 1.96 * float(values.std()) / math.sqrt(300)
    assert (apart.high - apart.low) / 2 == pytest.approx(error, rel=0.1)
    (none,) = estimates(np.full((3, 1), np.nan), ["a", "b", "b"])
    assert math.isnan(none.mean)


def test_two_reports_are_compared_pair_by_pair(tmp_path: Path) -> None:
    samples, found = many(60)
    worse = {name: replace(one, boxes=one.boxes + 3) for name, one in found.items()}
    worse["5"] = replace(worse["5"], span=(150, 190))
    write_report(tmp_path / "a.json", score(samples, worse), predictions="w", index="i")
    write_report(tmp_path / "b.json", score(samples, found), predictions="f", index="i")
    comparison = compare_reports(tmp_path / "a.json", tmp_path / "b.json")
    before, after, difference = comparison.differences["m_vIoU"]
    assert difference.mean == pytest.approx(after - before)
    assert 0 < difference.low < difference.high
    assert comparison.changes[0].id == "5"
    assert comparison.changes[0].before == 0
    same = compare_reports(tmp_path / "a.json", tmp_path / "a.json")
    assert same.changes == []
    assert same.differences["m_vIoU"][2].high == 0


def test_reports_that_cannot_be_compared(tmp_path: Path) -> None:
    samples, found = many(10)
    write_report(tmp_path / "a.json", score(samples, found), predictions="", index="")
    write_report(tmp_path / "b.json", score(samples, found, protocol="stcat"), predictions="", index="")
    write_report(tmp_path / "c.json", score(samples[:9], {"0": found["0"]}), predictions="", index="")
    (tmp_path / "d.json").write_text("[]")
    for name, cause in (("b", "another protocol"), ("c", "other samples"), ("d", "no report"), ("e", "no report")):
        with pytest.raises(PredictionError, match=cause):
            compare_reports(tmp_path / "a.json", tmp_path / f"{name}.json")


# Prediction files


def test_both_forms_of_boxes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"id": 7, "span": [3, 5], "boxes": [[0, 1, 2, 3], [4, 5, 6, 7]], "model": "x"}\n\n'
        '{"id": "8", "span": [3, 9], "boxes": {"8": [1, 1, 2, 2], "4": [0, 0, 1, 1]}}\n'
        '{"id": "9", "span": [3, 9]}\n'
    )
    found = read_predictions(path)
    assert list(found) == ["7", "8", "9"]
    assert found["7"].frames.tolist() == [3, 4]
    assert found["8"].frames.tolist() == [4, 8]
    assert found["8"].boxes.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2]]
    assert score_one(sample((3, 9)), found["9"]) == SampleScore(tiou=1, viou=0)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", "the line"),
        ('{"span": [0, 1]}', "id"),
        ('{"id": "1"}', "span"),
        ('{"id": "1", "span": [0, 1.5]}', "span.1"),
        ('{"id": "1", "span": [0, NaN]}', "the line|span"),
        ('{"id": "1", "span": [0, 1000000000000]}', "span.1"),
        ('{"id": "1", "span": [0, 3], "boxes": {"99999999999999999999": [0, 0, 1, 1]}}', "boxes"),
        ('{"id": "1", "span": [0, 1], "boxes": [[0, 0, NaN, 1]]}', "the line|boxes"),
        ('{"id": "1", "span": [0, 1], "boxes": [[0, 0, 1]]}', "boxes"),
        ('{"id": "1", "span": [0, 3], "boxes": [[0, 0, 1, 1]]}', "boxes: 1 boxes for a span of 3 frames"),
        ('{"id": "1", "span": [0, 3], "boxes": {"x": [0, 0, 1, 1]}}', "boxes"),
        ('{"id": "0", "span": [0, 1]}', "id: '0' stands twice"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, cause: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "0", "span": [0, 1]}\n' + line + "\n")
    with pytest.raises(PredictionError, match=f"p.jsonl:2: ({cause})"):
        read_predictions(path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    for name, cause in (
        ("absent", ": cannot be read"),
        ("empty", ": holds no prediction"),
        ("picture", ":1: the line: byte 1 is not UTF-8"),
    ):
        with pytest.raises(PredictionError, match=f"{name}{cause}"):
            read_predictions(tmp_path / name)


def test_predictions_of_another_split_are_refused() -> None:
    with pytest.raises(PredictionError, match="1 of 1 predictions are for no sample of the index, first '2'"):
        score([sample((0, 5))], {"2": prediction((0, 5), id_="2")})


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 9, 2, 2], [0, 0, 0, 0], [-9, -9, -1, -1]])
def test_boxes_without_overlap_or_area_score_nothing(box: list[float]) -> None:
    result = score_one(sample((0, 5)), prediction((0, 5), np.tile(np.array(box, np.float32), (5, 1))))
    assert (result.tiou, result.viou) == (1, 0)


@pytest.mark.parametrize("span", [(5, 5), (9, 2), (-4, 0), (300, 400)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_that_hold_nothing_score_nothing(span: Span, protocol: Protocol) -> None:
    result = score_one(sample((0, 5)), prediction(span), protocol)
    assert (result.tiou, result.viou) == (0, 0)


def test_reports_are_json_without_nan(tmp_path: Path) -> None:
    truth = sample((0, 5), np.full((5, 4), np.nan, np.float32))
    write_report(tmp_path / "r.json", score([truth], {"1": prediction((0, 5))}), predictions="p", index="i")
    content = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["samples"][0]["viou"] is None
    assert content["groups"]["all"]["all"]["m_tIoU"]["mean"] == 1
