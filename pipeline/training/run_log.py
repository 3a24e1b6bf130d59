"""Read and write log.jsonl of a run: one report per epoch, each line with a checksum."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.io.files import write_text
from extract.io.json_text import json_digest, parse_json
from pipeline.errors import CheckpointError

LOG = "log.jsonl"
CHECKSUM = "checksum"
_OWN = ("epoch", "total", "learning_rate", "skipped")
"""Keys of a line that are not parts of the loss."""
_VALIDATION = "val_"
"""Prefix of the keys of a line that hold validation scores."""


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """Mean losses and validation scores of one epoch of training."""

    epoch: int
    """Number of the epoch, from 1."""
    losses: Mapping[str, float]
    """Mean of each part of the loss over the epoch's samples, by the names that the model defines."""
    total: float
    """Mean of the weighted sum of the parts."""
    learning_rate: float
    """Learning rate after the epoch."""
    skipped: int = 0
    """Number of optimizer steps skipped because the loss or the gradient was not finite."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """Scores in [0, 1] on the validation split, by metric; empty without validation."""

    @property
    def values(self) -> dict[str, Any]:
        """The report as one flat JSON object, without the checksum."""
        return {
            "epoch": self.epoch,
            **self.losses,
            "total": self.total,
            "learning_rate": self.learning_rate,
            "skipped": self.skipped,
            **{f"{_VALIDATION}{name}": value for name, value in self.validation.items()},
        }


def best_epoch(reports: Sequence[EpochReport]) -> int | None:
    """Return the epoch with the highest m_vIoU, the earliest of several equal ones; None without validation scores."""
    scored = [report for report in reports if "m_vIoU" in report.validation]
    return max(scored, key=lambda report: report.validation["m_vIoU"]).epoch if scored else None


def write_log(run: Path, reports: Sequence[EpochReport]) -> None:
    """Write the complete log of a run, replacing the existing one.

    Args:
        run: folder of the run.
        reports: reports of all epochs, in order.

    Raises:
        OutputError: the log cannot be written.
    """
    lines = [json.dumps({**report.values, CHECKSUM: json_digest(report.values)}) + "\n" for report in reports]
    write_text(run / LOG, "".join(lines))


def read_log(run: Path) -> list[EpochReport]:
    """Read the log of a run. Lines without a checksum, written by earlier releases, are accepted.

    Args:
        run: folder of the run.

    Raises:
        CheckpointError: there is no log, or a line is damaged or missing; the message contains the line number.
    """
    path = run / LOG
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); run the train command again, which writes it from training.pt"
        ) from error
    return [_parsed(line, number, path) for number, line in enumerate(lines, start=1)]


def parse_report(content: object, epoch: int) -> EpochReport:
    """Parse one report from a flat JSON object.

    Args:
        content: parsed JSON of one line.
        epoch: expected number of the epoch, from 1.

    Raises:
        ValueError: a field is missing or has the wrong type, the epoch is another one, or the checksum does not match.
    """
    if not isinstance(content, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one exception type for all defects
    values = {str(name): value for name, value in content.items() if name != CHECKSUM}
    if CHECKSUM in content and content[CHECKSUM] != json_digest(values):
        raise ValueError("its checksum does not match")
    if values.get("epoch") != epoch:
        raise ValueError(f"its epoch is {values.get('epoch')!r}, not {epoch}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
            raise ValueError(f"{name} is {value!r}, not a finite number")
    skipped = values.get("skipped", 0)
    if "total" not in values or "learning_rate" not in values or not isinstance(skipped, int) or skipped < 0:
        raise ValueError("total, learning_rate or the count of skipped steps is missing or wrong")
    return EpochReport(
        epoch=epoch,
        losses={
            name: float(value)
            for name, value in values.items()
            if name not in _OWN and not name.startswith(_VALIDATION)
        },
        total=float(values["total"]),
        learning_rate=float(values["learning_rate"]),
        skipped=skipped,
        validation={
            name.removeprefix(_VALIDATION): float(value)
            for name, value in values.items()
            if name.startswith(_VALIDATION)
        },
    )


def _parsed(line: bytes, number: int, path: Path) -> EpochReport:
    try:
        return parse_report(parse_json(line), number)
    except ValueError as error:
        raise CheckpointError(
            f"{path}:{number}: damaged ({error}); run the train command again, which writes it from training.pt"
        ) from error
