"""Write and read score reports as JSON, and compare two reports."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from extract.io.files import write_text
from extract.io.json_text import read_json_file
from extract.io.names import name_text
from pipeline.data.index import samples_digest
from pipeline.data.json_lines import first_fault
from pipeline.errors import PredictionError
from pipeline.evaluation.bootstrap import Estimate, estimates
from pipeline.evaluation.metrics import SampleScore
from pipeline.evaluation.protocols import Protocol
from pipeline.evaluation.score import Group, Report, metric_columns

FORMAT = 1

_REMEDY = "make one with: gkcmn-pipe score PREDICTIONS INDEX --json FILE"
_Share = Annotated[float, Strict(), Field(ge=0, le=1 + 1e-6)]
"""A score in [0, 1]; rounding errors may exceed 1 slightly."""
_Count = Annotated[int, Strict(), Field(ge=0)]
_Text = Annotated[str, Strict()]


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Estimate(_Form):
    mean: _Share | None
    low: _Share | None
    high: _Share | None


class _Group(_Form):
    model_config = ConfigDict(extra="allow")

    samples: _Count
    __pydantic_extra__: dict[str, _Estimate]


class _Line(_Form):
    id: Annotated[_Text, Field(min_length=1)]
    video: Annotated[_Text, Field(min_length=1)]
    query: _Text
    tiou: _Share
    viou: _Share | None


class _File(_Form):
    """Content of a report file; see `write_report`."""

    format: Literal[1]
    predictions: _Text
    index: _Text
    samples_digest: _Text
    protocol: Protocol
    temporal_gt: Annotated[bool, Strict()]
    thresholds: list[_Share]
    groups: dict[str, dict[str, _Group]]
    trivial: dict[str, _Group]
    missing: list[_Text]
    samples: Annotated[list[_Line], Field(min_length=1)]


def write_report(path: Path, report: Report, *, predictions: str, index: str) -> None:
    """Write a report with the scores of each sample as JSON.

    Args:
        path: the file to write.
        report: the report.
        predictions: name of the predictions, kept for information.
        index: name of the index, kept for information.

    Raises:
        OutputError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "predictions": name_text(predictions),
        "index": name_text(index),
        "samples_digest": samples_digest(report.samples),
        "protocol": report.protocol,
        "temporal_gt": report.temporal_gt,
        "thresholds": report.thresholds,
        "groups": {name: _groups(parts) for name, parts in report.groups.items()},
        "trivial": _groups(report.trivial),
        "missing": report.missing,
        "samples": [
            {
                "id": sample.id,
                "video": sample.video,
                "query": sample.query,
                **{name: _number(value) for name, value in asdict(score).items()},
            }
            for sample, score in zip(report.samples, report.scores, strict=True)
        ],
    }
    head = json.dumps({**content, "samples": []}, indent=2, ensure_ascii=False).removesuffix("[]\n}")
    # Write one line per sample, which is easy to read and to search with grep.
    lines = ",\n".join(f"    {json.dumps(line, ensure_ascii=False)}" for line in content["samples"])
    write_text(path, f"{head}[\n{lines}\n  ]\n}}\n")


@dataclass(frozen=True, kw_only=True)
class Change:
    """The score of one sample in two reports."""

    id: str
    query: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences between report B and report A over the same samples."""

    samples: int
    differences: dict[str, tuple[float, float, Estimate]]
    """By metric: the mean of A, the mean of B, and the mean of B - A with its paired confidence interval."""
    changes: list[Change]
    """Samples whose vIoU differs, the largest change first; compares tIoU if no sample has a vIoU."""


def compare_reports(before: Path, after: Path) -> Comparison:
    """Compare two reports sample by sample.

    Args:
        before: report A, a file that `write_report` wrote.
        after: report B, of the same samples with the same settings.

    Raises:
        PredictionError: a file is not a report, or the reports have different samples or settings.
    """
    a, b = read_report(before), read_report(after)
    for key in ("samples_digest", "protocol", "temporal_gt", "thresholds"):
        if a[key] != b[key]:
            what = "other samples" if key == "samples_digest" else f"another {key} ({a[key]} and {b[key]})"
            raise PredictionError(f"{before}, {after}: scored with {what}; score both against the same index alike")
    for one, other in zip(a["samples"], b["samples"], strict=False):
        if one["id"] != other["id"] or (one["viou"] is None) != (other["viou"] is None):
            raise PredictionError(f"{before}, {after}: sample {one['id']!r}: differs in {after}; {_REMEDY}")
    if len(a["samples"]) != len(b["samples"]):
        counts = f"{len(a['samples'])} and {len(b['samples'])}"
        raise PredictionError(f"{before}, {after}: samples: there are {counts} of them; {_REMEDY}")
    table = [report_columns(a), report_columns(b)]
    found = estimates(
        np.stack(list(table[1].values()), axis=1) - np.stack(list(table[0].values()), axis=1),
        [line["video"] for line in a["samples"]],
    )
    key = "tiou" if all(line["viou"] is None for line in a["samples"]) else "viou"
    changes = [
        Change(id=one["id"], query=one["query"], before=one[key], after=other[key])
        for one, other in zip(a["samples"], b["samples"], strict=True)
        if one[key] != other[key]
    ]
    return Comparison(
        samples=len(a["samples"]),
        differences={
            name: (_mean(table[0][name]), _mean(table[1][name]), estimate)
            for name, estimate in zip(table[0], found, strict=True)
        },
        changes=sorted(changes, key=lambda change: -abs(change.after - change.before)),
    )


def report_columns(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the metrics of each sample in a report.

    Args:
        content: a report that `read_report` returned.

    Returns:
        Columns as `pipeline.evaluation.score.metric_columns` returns them.
    """
    scores = [
        SampleScore(**{key: math.nan if line[key] is None else line[key] for key in ("tiou", "viou")})
        for line in content["samples"]
    ]
    return metric_columns(scores, content["temporal_gt"], content["thresholds"])


def read_report(path: Path) -> dict[str, Any]:
    """Read a report that `write_report` wrote, as a dict.

    Raises:
        PredictionError: the file is not a report of this version. The message gives the invalid field; a sample is
            identified by its position in `samples`, counted from 0.
    """
    try:
        content = read_json_file(path, has_paths=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PredictionError(f"{path}: no report of scores ({reason}); {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or "samples_digest" not in content:
        raise PredictionError(f"{path}: no report of scores of this version; {_REMEDY}")
    try:
        form = _File.model_validate(content)
    except ValidationError as error:
        raise PredictionError(f"{path}: no report of scores: {first_fault(error)}; {_REMEDY}") from error
    names = set(metric_columns([], form.temporal_gt, form.thresholds))
    parts = {f"groups.{name}.{part}": group for name, rows in form.groups.items() for part, group in rows.items()}
    parts |= {f"trivial.{name}": group for name, group in form.trivial.items()}
    for name, group in parts.items():
        if set(group.__pydantic_extra__) != names:
            raise PredictionError(f"{path}: no report of scores: {name}: has other metrics; {_REMEDY}")
    ids = Counter(line.id for line in form.samples)
    if len(ids) < len(form.samples):
        raise PredictionError(
            f"{path}: no report of scores: samples: id {ids.most_common(1)[0][0]!r} stands twice; {_REMEDY}"
        )
    return content


def _groups(parts: Mapping[str, Group]) -> dict[str, Any]:
    return {
        name: {
            "samples": part.samples,
            **{
                metric: {key: _number(value) for key, value in asdict(estimate).items()}
                for metric, estimate in part.metrics.items()
            },
        }
        for name, part in parts.items()
    }


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else math.nan


def _number(value: float) -> float | None:
    """Convert NaN to None, because JSON has no NaN."""
    return None if math.isnan(value) else value
