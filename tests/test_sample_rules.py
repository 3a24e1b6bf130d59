"""Labels, predictions and reports from outside: every format is validated alike, with one-line errors."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import extract.io.open_input
from extract.records import VideoInfo
from pipeline.data.index import _SCHEMA, read_index, write_index
from pipeline.data.sample_rules import first_fault
from pipeline.errors import AnnotationError, PredictionError
from pipeline.evaluation.predictions import read_predictions
from pipeline.evaluation.report import compare_reports, read_report, write_report
from pipeline.evaluation.score import score
from pipeline.prepare.build_index import prepare
from pipeline.prepare.files import read_json
from pipeline.prepare.hcstvg import hcstvg_drafts
from pipeline.prepare.jsonl import plain_drafts
from pipeline.prepare.records import Draft, Finding
from pipeline.prepare.rules import REJECTED, settle
from pipeline.prepare.videos import VideoFolder
from pipeline.prepare.vidstg import vidstg_drafts
from tests.media import moving_square, square_sample, write_index_lines, write_video
from tests.mutations import mutations
from tests.test_score import many

BOX = [4.0, 4.0, 20.0, 30.0]


def row(**changes: Any) -> dict[str, Any]:
    """Return a valid row of a Parquet index, with some values changed."""
    values: dict[str, Any] = {
        "id": "b", "video": "a.mp4", "query": "the man", "kind": "declarative", "segment_start": 0, "segment_end": 40,
        "span_start": 10, "span_end": 12, "boxes": [BOX, None], "split": None,
        "width": None, "height": None, "frame_count": None, "fps": None,
    }  # fmt: skip
    return {**values, **changes}


def write_rows(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = _SCHEMA) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def line(values: dict[str, Any]) -> dict[str, Any]:
    """Convert a row of a Parquet index to the object of a JSON line."""
    kept = {key: values[key] for key in ("id", "video", "query", "kind", "boxes", "split")}
    segment = [values["segment_start"], values["segment_end"]]
    return {
        **{key: value for key, value in kept.items() if value is not None or key != "split"},
        "span": [values["span_start"], values["span_end"]],
        "segment": None if segment == [None, None] else segment,
    }


BOTH = [
    ({"id": ""}, "id"),
    ({"id": "first"}, "id: 'first' stands twice"),
    ({"video": None}, "video"),
    ({"video": "  "}, "video: it is empty"),
    ({"video": "a\0.mp4"}, "video: it holds a NUL"),
    ({"query": None}, "query"),
    ({"query": ""}, "query: it is empty"),
    ({"query": " \t"}, "query: it is empty"),
    ({"query": "\u200b?!"}, "query: .* has no words"),
    ({"kind": None}, "kind"),
    ({"kind": "song"}, "kind"),
    ({"split": ""}, "split: it is empty"),
    ({"span_start": None}, "span"),
    ({"span_end": None}, "span"),
    ({"span_start": -1, "span_end": 1}, "span: the span .-1, 1. exceeds"),
    ({"segment_start": None, "segment_end": None, "span_start": -1, "span_end": 1}, "span: .* no frames"),
    ({"span_start": 12, "span_end": 10}, "span: the span .12, 10. is empty"),
    ({"span_start": 12, "span_end": 12, "boxes": []}, "span: the span .12, 12. is empty"),
    ({"segment_start": 12}, "span: .* exceeds the segment"),
    ({"segment_end": 10}, "span: .* exceeds the segment"),
    ({"segment_start": 40, "segment_end": 0}, "segment: .* is empty"),
    ({"segment_start": -5}, "segment: .* no frames"),
    ({"segment_end": None}, "segment"),
    ({"segment_end": 2**31 - 1}, "segment: .* no frames"),
    ({"segment_end": 2**31 - 1, "span_start": 2**31 - 3, "span_end": 2**31 - 1}, "span: .* no frames"),
    ({"boxes": None}, "boxes"),
    ({"boxes": [BOX]}, "boxes: 1 boxes for a span of 2"),
    ({"boxes": [BOX] * 3}, "boxes: 3 boxes for a span of 2"),
    ({"boxes": [BOX, [4, 4, 4, 9]]}, "boxes: box .* is empty"),
    ({"boxes": [BOX, [20, 4, 4, 9]]}, "boxes: box .* is empty"),
    ({"boxes": [BOX, [4, 9, 20, 4]]}, "boxes: box .* is empty"),
    ({"boxes": [BOX, [4, 4, 2e7, 9]]}, "boxes: box .* no pixel"),
    ({"boxes": [BOX, [-2e7, 4, 20, 9]]}, "boxes: box .* no pixel"),
    ({"boxes": [BOX, [4, 4, math.inf, 9]]}, "boxes|the line: Infinity"),
    ({"boxes": [BOX, [4, math.nan, 20, 9]]}, "boxes|the line: NaN"),
    ({"boxes": [BOX, [math.nan] * 4]}, "boxes|the line: NaN"),
]  # fmt: skip
"""Changes to a valid row, and a pattern for the field that both readers must name."""


@pytest.mark.parametrize(("change", "fault"), BOTH, ids=[f"{change}" for change, _ in BOTH])
def test_both_forms_of_an_index_have_one_verdict(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    rows = [row(id="first"), row(**change)]
    lines = write_index_lines(tmp_path / "i.jsonl", [line(values) for values in rows])
    with pytest.raises(AnnotationError, match=rf"i\.jsonl:2: ({fault}).*; "):
        read_index(lines)
    with pytest.raises(AnnotationError, match=rf"i\.parquet: row 2 \(id .*\): ({fault}).*; "):
        read_index(write_rows(tmp_path / "i.parquet", rows))


def test_both_forms_of_a_good_index_are_the_same(tmp_path: Path) -> None:
    rows = [
        row(id="1"), row(id="2", segment_start=None, segment_end=None, split="val"),
        row(id="3", span_start=39, span_end=41),
        row(id="4", query="die Frau läuft 👋", kind="interrogative"), row(id="5", boxes=[BOX, [-4, -4, 3, 3]]),
    ]  # fmt: skip
    lines = read_index(write_index_lines(tmp_path / "i.jsonl", [line(values) for values in rows]))
    write_index(tmp_path / "again.parquet", lines)
    for path in (write_rows(tmp_path / "i.parquet", rows), tmp_path / "again.parquet"):
        for one, other in zip(lines, read_index(path), strict=True):
            assert np.array_equal(one.boxes, other.boxes, equal_nan=True)
            assert (one.id, one.query, one.kind, one.segment, one.span, one.split) == (
                other.id, other.query, other.kind, other.segment, other.span, other.split,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": None}, "id: it is null"),
        ({"width": 64}, "height: it is null"),
        ({"height": 64}, "width: it is null"),
        ({"width": 0, "height": 48}, "size: the picture is 0x48"),
        ({"width": 64, "height": -48}, "size"),
        ({"width": 64, "height": 2**31 - 1}, "size"),
        ({"width": 3, "height": 48}, "boxes: box .* outside the 3x48 picture"),
        ({"width": 64, "height": 48, "boxes": [BOX, [-9, 4, -1, 9]]}, "boxes: box .* outside"),
        ({"frame_count": 0}, "frame_count"),
        ({"frame_count": -5}, "frame_count"),
        ({"frame_count": 2**31 - 1}, "frame_count"),
        ({"frame_count": 11}, "span: .* ends after its video of 11 frames"),
        ({"frame_count": 39}, "segment: .* ends after its video of 39 frames"),
        ({"fps": 0.0}, "fps"),
        ({"fps": -1.0}, "fps"),
        ({"fps": math.inf}, "fps"),
        ({"fps": math.nan}, "fps"),
        ({"segment_start": None}, "segment_start: it is null"),
    ],
)
def test_what_parquet_alone_can_say(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    path = write_rows(tmp_path / "i.parquet", [row(id="first"), row(**change)])
    with pytest.raises(AnnotationError, match=rf"i\.parquet: row 2 \(id .*\): {fault}.*; "):
        read_index(path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"span": [True, 2]}, "span.0"),
        ({"span": ["0", 2]}, "span.0"),
        ({"span": [0.5, 2]}, "span.0"),
        ({"span": [10**12, 10**12 + 2]}, "span: .* no frames"),
        ({"span": [0, 10**30]}, "span.1"),
        ({"span": [0]}, "span.1"),
        ({"span": {"0": 2}}, "span"),
        ({"boxes": [["4", 4, 20, 30]] * 2}, "boxes.0.0"),
        ({"boxes": [[True, 4, 20, 30]] * 2}, "boxes.0.0"),
        ({"boxes": [[4, 4, 1e308, 30]] * 2}, "boxes: box .*inf.* no pixel"),
        ({"boxes": [[639.99999999, 4, 640, 30]] * 2}, "boxes: box .* is empty"),
        ({"boxes": [None, None]}, "boxes: no frame of the span has a box"),
        ({"id": 7}, "id"),
        ({"query": ["the man"]}, "query"),
        ({"query": "half of a pair \ud800"}, "the line: .*surrogate"),
        ({"fps": 3}, "fps"),
    ],
)
def test_what_json_alone_can_say(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    values = {"video": "a.mp4", "query": "q", "span": [0, 2], "boxes": [BOX, BOX], **change}
    with pytest.raises(AnnotationError, match=rf"i\.jsonl:1: {fault}.*; "):
        read_index(write_index_lines(tmp_path / "i.jsonl", [values]))


GOOD = '{"video": "a.mp4", "query": "the man", "span": [0, 1], "boxes": [[4, 4, 20, 30]]}'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "holds no samples"),
        (b"\n \r\n", "holds no samples"),
        (GOOD.encode("utf-16"), "it is UTF-16"),
        (gzip.compress(GOOD.encode()), "compressed with gzip"),
        (f"[{GOOD}]".encode(), ":1: the line"),
        (json.dumps([json.loads(GOOD)], indent=1).encode(), ":1: the line"),
        (GOOD.encode() + b"\n" + GOOD.replace("man", "\xe9").encode("latin-1"), ":2: the line: byte .* is not UTF-8"),
        (GOOD.replace('"span"', '"span": [0, 9], "span"').encode(), ":1: the line: key 'span' stands twice"),
        (GOOD.replace('"span"', '"sp\\u0061n": [0, 9], "span"').encode(), ":1: the line: key 'span' stands twice"),
        (GOOD.encode() + b"," * 100, ":1: the line"),
        (b'{"video": ' + b"[" * 100_000, ":1: the line"),
        (b'{"video": "' + b"a" * 10**7, ":1: the line"),
        (GOOD.replace("the man", "NaN").replace("4,", "NaN,", 1).encode(), ":1: the line: NaN is not JSON"),
        (f'{GOOD[:-1]}, "id": "2"}}\n{GOOD}'.encode(), ":2: id: '2' stands twice"),
        (bytes(range(256)) * 9, ":1: the line"),
    ],
    ids=range(15),
)
def test_files_that_are_no_json_lines(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "i.jsonl").write_bytes(content)
    with pytest.raises(AnnotationError, match=f"i.jsonl.*{fault}"):
        read_index(tmp_path / "i.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace(", ", ",\t").encode() + b"\r\n\r\n",
        GOOD.replace("[0, 1]", "[0.0, 1.0]").encode(),
        GOOD.replace("the man", '\\"span\\": NaN Infinity').encode(),
    ],
    ids=["byte order mark", "CRLF", "whole numbers with a point", "words that look like faults"],
)
def test_files_that_are_json_lines(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i.jsonl").write_bytes(content)
    (sample,) = read_index(tmp_path / "i.jsonl")
    assert (sample.span, sample.boxes.tolist()) == ((0, 1), [BOX])


def test_parquet_is_told_by_its_content(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "i.jsonl", [row()])
    assert len(read_index(path)) == 1
    assert len(read_index(path.rename(tmp_path / "I.PARQUET"))) == 1
    for name in ("lines.parquet", "lines.PARQUET"):
        (tmp_path / name).write_text(GOOD)
        with pytest.raises(AnnotationError, match=f"{name}: not a Parquet file"):
            read_index(tmp_path / name)
    with pytest.raises(
        PredictionError, match="I.PARQUET: cannot be read .it is a Parquet file.; give a file of JSON lines"
    ):
        read_predictions(tmp_path / "I.PARQUET")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("query", pa.large_string()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("span_start", pa.int64()),
        ("fps", pa.float32()),
        ("boxes", pa.list_(pa.list_(pa.float32()))),
        ("boxes", pa.list_(pa.list_(pa.float64(), 4))),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    fields = [pa.field(field.name, kind if field.name == name else field.type) for field in _SCHEMA]
    path = write_rows(tmp_path / "i.parquet", [row()], pa.schema(fields, metadata=_SCHEMA.metadata))
    with pytest.raises(AnnotationError, match=f"i.parquet: not an index: {name}: holds .*; prepare it again"):
        read_index(path)


def test_other_columns_are_named(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row()], schema=_SCHEMA)
    for other, fault in (
        (table.drop_columns(["fps"]), "columns differ in 'fps'"),
        (table.append_column("more", pa.array([1])), "columns differ in 'more'"),
        (table.select(_SCHEMA.names[::-1]), "columns differ in 'fps'"),
        (table.replace_schema_metadata({}), "not an index of this version"),
    ):
        pq.write_table(other, tmp_path / "i.parquet")
        with pytest.raises(AnnotationError, match=f"i.parquet: not an index.*{fault}|{fault}"):
            read_index(tmp_path / "i.parquet")


def test_slices_and_row_groups_are_read_alike(tmp_path: Path) -> None:
    rows = [row(id=str(number), boxes=[[number, 1, number + 2, 3], None]) for number in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA).slice(7), tmp_path / "i.parquet", row_group_size=700)
    samples = read_index(tmp_path / "i.parquet")
    assert [sample.id for sample in samples] == [str(number) for number in range(7, 2500)]
    assert [float(sample.boxes[0, 0]) for sample in samples] == list(range(7, 2500))
    rows[2300]["boxes"] = [[1, 1, 1, 1], None]
    rows[2400]["query"] = None
    with pytest.raises(AnnotationError, match=r"row 2301 \(id '2300'\): boxes"):
        read_index(write_rows(tmp_path / "i.parquet", rows))


def test_text_that_is_not_utf8_in_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row(), row(id="c")], schema=_SCHEMA)
    offsets = np.array([0, 1, 3], np.int32)
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(b"a\xff\xfe"))
    pq.write_table(table.set_column(2, _SCHEMA.field("query"), broken), tmp_path / "i.parquet")
    with pytest.raises(AnnotationError, match=r"row 2 \(id 'c'\): query: it is not UTF-8"):
        read_index(tmp_path / "i.parquet")


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    (good,) = read_index(write_rows(tmp_path / "i.parquet", [row()]))
    for bad in (
        replace(good, span=(10**12, 10**12 + 2)),
        replace(good, query="\ud800"),
        replace(good, boxes=good.boxes[:1]),
    ):
        with pytest.raises(AnnotationError, match="o.parquet: sample 'b': "):
            write_index(tmp_path / "o.parquet", [bad])
    assert not (tmp_path / "o.parquet").exists()


# FIFOs, links and devices

READERS: list[tuple[Callable[[Path], object], type[Exception]]] = [
    (read_index, AnnotationError),
    (read_predictions, PredictionError),
    (read_report, PredictionError),
    (read_json, AnnotationError),
]


@pytest.mark.parametrize(("read", "error"), READERS)
def test_what_is_no_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object], error: type[Exception]
) -> None:
    monkeypatch.setattr(extract.io.open_input, "WRITER_WAIT_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path, cause in (
        (tmp_path / "pipe", "nobody writes into this pipe"),
        (tmp_path / "folder", "Is a directory"),
        (Path("/dev/zero"), "it is a device"),
        (tmp_path / ("x" * 300), "File name too long|no index"),
    ):
        with pytest.raises(error, match=f"{re.escape(str(path))}: .*({cause}).*; "):
            read(path)


def test_a_pipe_with_a_writer_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_text('{"id": "1", "span": [0, 1]}\n' * 1), daemon=True
    )
    writer.start()
    assert list(read_predictions(tmp_path / "pipe")) == ["1"]
    writer.join(timeout=5)


# Predictions


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"span": [9, 2]}, "span: .* ends before it starts"),
        ({"span": [True, 2]}, "span.0"),
        ({"span": ["1", 2]}, "span.0"),
        ({"boxes": [[0, 0, 1e39, 1]]}, "boxes: .* no pixel"),
        ({"boxes": {"0": [0, 0, 1, 1], "00": [0, 0, 1, 1]}}, "boxes"),
        ({"boxes": {" 1": [0, 0, 1, 1]}}, "boxes"),
        ({"boxes": {"0": [0, 0, 1, -2e7]}}, "boxes: that of frame 0 .* no pixel"),
        ({"boxes": None}, "boxes"),
        ({"boxes": [None]}, "boxes"),
        ({"score": math.nan}, "the line: NaN"),
        ({"boxes": {"0": [0, 0, 1, 1]}, "score": math.nan}, "the line: NaN"),
        ({"id": True}, "id"),
        ({"id": None}, "id"),
    ],
)
def test_a_prediction_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    path = write_index_lines(tmp_path / "p.jsonl", [{"id": "1", "span": [0, 1], **change}])
    with pytest.raises(PredictionError, match=rf"p\.jsonl:1: {fault}.*; "):
        read_predictions(path)


def test_predictions_that_are_only_wrong_are_scored(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"id": "0", "span": [5, 5]},
        {"id": "1", "span": [-4, 10**6], "boxes": {"-9": BOX, "2000000": BOX}},
        {"id": "2", "span": [0, 4000], "boxes": [BOX] * 4000},
        {"id": "3", "span": [0, 1], "boxes": [BOX[::-1]]},
    ]
    found = read_predictions(write_index_lines(tmp_path / "p.jsonl", lines))
    samples, _ = many(4)
    report = score(samples, found)
    assert report.scores[0].tiou == 0
    assert all(0 <= one.tiou <= 1 and 0 <= one.viou <= 1 for one in report.scores)
    assert report.scores[3].viou == 0


# Mutations: each value of a file is replaced by each bad value


def test_mutated_predictions_are_read_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    outcomes = set()
    for boxes in ([BOX, BOX], {"3": BOX}):
        for _, content in mutations({"id": "1", "span": [3, 5], "boxes": boxes, "score": 0.5}):
            path.write_text(json.dumps(content))
            try:
                read_predictions(path)
                outcomes.add("read")
            except PredictionError as error:
                outcomes.add("one line" if str(error).startswith(str(path)) else str(error))
    assert outcomes == {"read", "one line"}


def test_mutated_reports_are_compared_or_one_line(tmp_path: Path) -> None:
    samples, found = many(2)
    write_report(tmp_path / "a.json", score(samples, found, thresholds=[0.5]), predictions="p", index="i")
    whole = json.loads((tmp_path / "a.json").read_text())
    whole["groups"] = {"all": whole["groups"]["all"]}
    del whole["trivial"]["segment, mean box"]
    outcomes = set()
    for _, content in mutations(whole):
        (tmp_path / "b.json").write_text(json.dumps(content))
        try:
            read_report(tmp_path / "b.json")
            compare_reports(tmp_path / "a.json", tmp_path / "b.json")
            outcomes.add("compared")
        except PredictionError as error:
            outcomes.add("one line" if str(error).startswith(str(tmp_path)) else str(error))
    assert outcomes == {"compared", "one line"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda report: report["samples"][1].update(tiou=1.5), "samples.1.tiou"),
        (lambda report: report["samples"][1].update(viou="1"), "samples.1.viou"),
        (lambda report: report["samples"][1].pop("query"), "samples.1.query"),
        (lambda report: report["samples"].pop(), "samples: there are 3 and 2"),
        (lambda report: report["samples"].reverse(), "sample '0': differs"),
        (lambda report: report["samples"][1].update(id="0"), "samples: id '0' stands twice"),
        (lambda report: report["samples"][1].update(viou=None), "sample '1': differs"),
        (lambda report: report["trivial"].update(x={"samples": 1}), "trivial.x: has other metrics"),
        (lambda report: report.update(samples=[]), "samples"),
    ],
)
def test_a_report_names_what_is_wrong(tmp_path: Path, change: Callable[[Any], object], fault: str) -> None:
    samples, found = many(3)
    write_report(tmp_path / "a.json", score(samples, found), predictions="p", index="i")
    report = json.loads((tmp_path / "a.json").read_text())
    change(report)
    (tmp_path / "b.json").write_text(json.dumps(report))
    with pytest.raises(PredictionError, match=rf"b\.json: .*{fault}.*; make one with"):
        compare_reports(tmp_path / "a.json", tmp_path / "b.json")


INFO = VideoInfo(width=64, height=48, fps=10.0, frame_count=40, duration_s=4.0, decoder="decord2 3")


def settled(read: Callable[[], Any], path: Path) -> str:
    """Apply the rules to a data set's files, check that every sample is valid, and return a word for the outcome."""
    try:
        records = list(read())
    except AnnotationError as error:
        return "one line" if str(error).startswith(str(path)) else str(error)
    outcome = "kept"
    for record in records:
        if isinstance(record, Finding):
            outcome = "counted"
            continue
        for info in (None, INFO):
            result = settle(record, "a.mp4", info)
            if result.sample is None:
                assert any(finding.rule in REJECTED for finding in result.findings)
                outcome = "counted"
            else:
                assert first_fault([result.sample], set()) is None
    return outcome


def vidstg_record() -> dict[str, Any]:
    return {
        "vid": "1", "fps": 10.0, "frame_count": 40, "width": 64, "height": 48,
        "used_segment": {"begin_fid": 4, "end_fid": 35}, "temporal_gt": {"begin_fid": 8, "end_fid": 10},
        "captions": [{"description": "the man kicks", "type": "person", "target_id": 0}], "questions": [],
    }  # fmt: skip


def vidor_file() -> dict[str, Any]:
    frame = [{"tid": 0, "bbox": {"xmin": 4, "ymin": 2, "xmax": 14, "ymax": 20}}]
    return {"trajectories": [[]] * 8 + [frame, frame]}


def test_mutated_vidstg_is_counted_or_one_line(tmp_path: Path) -> None:
    path, boxes = tmp_path / "test_annotations.json", tmp_path / "vidor"
    boxes.mkdir()
    (boxes / "1.json").write_text(json.dumps(vidor_file()))
    outcomes = set()
    for _, content in mutations([vidstg_record()]):
        path.write_text(json.dumps(content))
        outcomes.add(settled(lambda: vidstg_drafts([path], None), path))
        outcomes.add(settled(lambda: vidstg_drafts([path], boxes), path))
    assert outcomes == {"kept", "counted", "one line"}


def test_mutated_vidor_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "test_annotations.json"
    path.write_text(json.dumps([vidstg_record()]))
    (tmp_path / "vidor").mkdir()
    outcomes = set()
    for _, content in mutations(vidor_file()):
        (tmp_path / "vidor" / "1.json").write_text(json.dumps(content))
        outcomes.add(settled(lambda: vidstg_drafts([path], tmp_path / "vidor"), path))
    assert outcomes == {"kept", "counted"}


def test_mutated_hcstvg_is_counted_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    record = {"bbox": [[4, 5, 10, 20], None], "st_frame": 10, "img_num": 40, "caption": "x", "img_size": [48, 64]}
    outcomes = set()
    for whole in (record, {**record, "width": 64, "height": 48, "English": "y"}):
        for _, content in mutations({"a.mp4": whole}):
            path.write_text(json.dumps(content))
            outcomes.add(settled(lambda: hcstvg_drafts([path]), path))
    assert outcomes == {"kept", "counted", "one line"}


def test_mutated_json_lines_are_counted_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    record = {"video": "a", "query": "x", "span": [3, 5], "segment": [0, 9], "boxes": [BOX, None], "split": "train"}
    outcomes = set()
    for _, content in mutations({**record, "id": "1", "kind": "declarative"}):
        path.write_text(json.dumps(content))
        outcomes.add(settled(lambda: plain_drafts([path]), path))
    assert outcomes == {"kept", "counted", "one line"}


def test_a_name_that_stands_twice_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    record = json.dumps({"bbox": [[4, 5, 10, 20]], "st_frame": 10, "img_num": 40, "caption": "x"})
    path.write_text(f'{{"a.mp4": {record}, "a.mp4": {record}}}')
    first, second = hcstvg_drafts([path])
    assert isinstance(first, Finding)
    assert (first.rule, isinstance(second, Draft)) == ("duplicate id", True)


# Cached facts about videos


def test_an_altered_memory_of_videos_is_not_believed(tmp_path: Path) -> None:
    write_video(tmp_path / "clips" / "a.mp4", moving_square(30))
    path = write_index_lines(tmp_path / "labels.jsonl", [square_sample("a.mp4", "the square", (8, 24))])

    def looked() -> int:
        seen: list[tuple[int, int]] = []
        prepared = prepare(
            plain_drafts([path]), tmp_path / "i.parquet", videos=tmp_path / "clips",
            on_video=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
        assert prepared.samples[0].frame_count == 30
        return len(seen) - 1

    memory = tmp_path / "i.videos.json"
    assert (looked(), looked()) == (1, 0)
    memory.write_text(memory.read_text().replace('"frame_count": 30', '"frame_count": 31'))
    assert (looked(), looked()) == (1, 0)
    whole = json.loads(memory.read_text())
    folder = VideoFolder(tmp_path / "clips", memory, None, timeout_s=10)
    for _, content in mutations(whole):
        memory.write_text(json.dumps(content))
        assert folder._load() in ({}, {key: VideoInfo(**value) for key, value in whole["videos"].items()})
