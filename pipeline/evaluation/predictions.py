"""Read and write predictions as JSON lines, from any model.

    {"id": "7", "span": [30, 75], "boxes": [[12, 8, 90, 200], ...]}
    {"id": "7", "span": [30, 75], "boxes": {"30": [12, 8, 90, 200], "60": [20, 8, 98, 200]}}

`boxes` is a list with one [x1, y1, x2, y2] in source pixels for each frame of the span, or an object that maps frame
numbers (keyframes) to boxes. Boxes are interpolated between keyframes; before the first and after the last keyframe the
nearest box is used. Without `boxes` only the span is scored. A span may exceed the video; the excess frames count as
wrong. The empty span [n, n] means that nothing was found. A box without area has an overlap of 0. Other keys are
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from extract.io.files import write_text
from pipeline.data.json_lines import BoxSides, FrameNumber, json_records
from pipeline.data.jsonl import box_rows
from pipeline.data.sample_rules import MAX_FRAMES, MAX_PIXELS, count_fault
from pipeline.errors import PredictionError
from pipeline.types import Prediction, Sample, Span, Tube

_Frame = Annotated[FrameNumber, Field(ge=-MAX_FRAMES, le=MAX_FRAMES)]
_Key = Annotated[str, Field(pattern=r"^(0|-?[1-9][0-9]{0,7})$")]
"""A frame number as a JSON key. Each number has only one spelling, so that no keyframe can be given twice."""


def _form(value: Any) -> str:  # noqa: ANN401 - JSON
    return "key frames" if isinstance(value, dict) else "list"


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, coerce_numbers_to_str=True)

    id: Annotated[str, Field(min_length=1)]
    span: tuple[_Frame, _Frame]
    boxes: Annotated[
        Annotated[list[BoxSides], Tag("list")] | Annotated[dict[_Key, BoxSides], Tag("key frames")],
        Discriminator(_form),
    ] = Field(default_factory=list)


def read_predictions(path: Path) -> dict[str, Prediction]:
    """Read all predictions of a JSON lines file, by sample id.

    Raises:
        PredictionError: the file is missing or has no predictions, a line has the wrong form, or an id is repeated; the
            message gives the line and the field.
    """
    predictions: dict[str, Prediction] = {}
    for number, record in json_records(path, _Line, PredictionError):
        prediction = _prediction(record, where=f"{path}:{number}")
        if prediction.id in predictions:
            raise PredictionError(f"{path}:{number}: id: {prediction.id!r} stands twice; keep one of them")
        predictions[prediction.id] = prediction
    if not predictions:
        raise PredictionError(f"{path}: holds no prediction; give one JSON line a sample")
    return predictions


def write_predictions(path: Path, results: Iterable[tuple[Sample, Tube]]) -> None:
    """Write tubes and their scores as JSON lines.

    Args:
        path: the file to write.
        results: samples, each with its predicted tube.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, "".join(_line(sample, tube) for sample, tube in results))


def tube_prediction(sample: Sample, tube: Tube) -> Prediction:
    """Convert a tube to a prediction with one box per frame.

    Args:
        sample: the sample that the tube was predicted for.
        tube: the predicted tube.
    """
    return Prediction(id=sample.id, span=tube.span, frames=np.arange(*tube.span), boxes=tube.boxes)


def constant_prediction(sample: Sample, span: Span, box: np.ndarray) -> Prediction:
    """Return a prediction with the same box in every frame.

    Args:
        sample: the sample to predict.
        span: half-open range of source frames.
        box: float (4,), xyxy in source pixels.
    """
    return Prediction(id=sample.id, span=span, frames=np.array([span[0]]), boxes=np.array([box], np.float32))


def _prediction(record: _Line, *, where: str) -> Prediction:
    start, end = record.span
    if end < start:
        raise PredictionError(
            f"{where}: span: the span {[start, end]} ends before it starts; give [first frame, frame after the last], "
            "or twice the same frame where nothing was found"
        )
    if isinstance(record.boxes, dict):
        given = sorted((int(key), sides) for key, sides in record.boxes.items())
        frames = np.array([frame for frame, _ in given], np.int64)
        boxes = box_rows([sides for _, sides in given])
    else:
        if record.boxes and (fault := count_fault(len(record.boxes), record.span)) is not None:
            raise PredictionError(
                f'{where}: {fault.field}: {fault.cause}; give one a frame, or key frames as {{"FRAME": BOX}}'
            )
        frames = np.arange(start, start + len(record.boxes))
        boxes = box_rows(record.boxes)
    if not (np.abs(boxes) <= MAX_PIXELS).all():
        worst = np.abs(boxes).max(axis=1).argmax()
        raise PredictionError(
            f"{where}: boxes: that of frame {frames[worst]} holds {np.abs(boxes).max():.3g}, which is no pixel; "
            "boxes are [x1, y1, x2, y2] in pixels of the source"
        )
    return Prediction(id=record.id, span=(start, end), frames=frames, boxes=boxes)


def _line(sample: Sample, tube: Tube) -> str:
    content = {
        "id": sample.id,
        "span": tube.span,
        "boxes": tube.boxes.astype(float).round(2).tolist(),
        "score": round(tube.score, 4),
    }
    return json.dumps(content) + "\n"
