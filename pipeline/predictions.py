"""Predictions as JSON lines, from any model.

    {"id": "7", "span": [30, 75], "boxes": [[12, 8, 90, 200], ...]}
    {"id": "7", "span": [30, 75], "boxes": {"30": [12, 8, 90, 200], "60": [20, 8, 98, 200]}}

`boxes` is a list of one [x1, y1, x2, y2] in source pixels for each frame of the span, or an object of key frames:
between them boxes are interpolated, beyond them the nearest counts. Without `boxes` only time is scored. Other
keys are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extract.files import write_text
from pipeline.errors import PredictionError
from pipeline.plain import first_fault
from pipeline.types import Prediction, Sample, Span, Tube

_Box = tuple[float, float, float, float]
_Frame = Annotated[int, Field(ge=-(10**7), le=10**7)]
"""What is beyond is no frame number; nanoseconds, perhaps."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, coerce_numbers_to_str=True)

    id: Annotated[str, Field(min_length=1)]
    span: tuple[_Frame, _Frame]
    boxes: list[_Box] | dict[_Frame, _Box] = {}


def read_predictions(path: Path) -> dict[str, Prediction]:
    """All predictions of a file, by sample id.

    Raises:
        PredictionError: the file is not there or empty, a line has another form, or an id stands twice.
    """
    predictions: dict[str, Prediction] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    prediction = _parse(line, where=f"{path}:{number}")
                    if prediction.id in predictions:
                        raise PredictionError(f"{path}:{number}: id {prediction.id!r} stands twice; keep one of them")
                    predictions[prediction.id] = prediction
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionError(f"{path}: cannot be read ({error}); give a file of JSON lines") from error
    if not predictions:
        raise PredictionError(f"{path}: holds no prediction; give one JSON line a sample")
    return predictions


def write_predictions(path: Path, results: Iterable[tuple[Sample, Tube]]) -> None:
    """Write tubes as predictions, with their scores. Raises OutputError."""
    write_text(path, "".join(_line(sample, tube) for sample, tube in results))


def tube_prediction(sample: Sample, tube: Tube) -> Prediction:
    """A tube as the prediction for a sample."""
    return Prediction(id=sample.id, span=tube.span, frames=np.arange(*tube.span), boxes=tube.boxes)


def constant_prediction(sample: Sample, span: Span, box: np.ndarray) -> Prediction:
    """One box, float (4,) in source pixels, over a span."""
    return Prediction(id=sample.id, span=span, frames=np.array([span[0]]), boxes=np.array([box], np.float32))


def _parse(line: str, *, where: str) -> Prediction:
    try:
        record = _Line.model_validate_json(line)
    except ValidationError as error:
        raise PredictionError(f"{where}: {first_fault(error)}; see gkcmn-pipe score --help for the format") from error
    start, end = record.span
    if isinstance(record.boxes, Mapping):
        frames = np.array(sorted(record.boxes), np.int64)
        boxes = [record.boxes[int(frame)] for frame in frames]
    else:
        if len(record.boxes) not in (0, max(0, end - start)):
            raise PredictionError(
                f"{where}: {len(record.boxes)} boxes for a span of {end - start} frames; give one a frame, "
                'or key frames as {"FRAME": BOX}'
            )
        frames = np.arange(start, start + len(record.boxes))
        boxes = record.boxes
    return Prediction(id=record.id, span=(start, end), frames=frames, boxes=np.array(boxes, np.float32).reshape(-1, 4))


def _line(sample: Sample, tube: Tube) -> str:
    content = {
        "id": sample.id,
        "span": tube.span,
        "boxes": tube.boxes.astype(float).round(2).tolist(),
        "score": round(tube.score, 4),
    }
    return json.dumps(content) + "\n"
