"""The model's output as tubes in source frames and pixels."""

from __future__ import annotations

import numpy as np

from extract.records import VideoRecord
from model.base import Answer
from pipeline.data.dataset import Batch
from pipeline.data.time_axis import StepAxis, interpolate_boxes
from pipeline.types import Span, Tube


def decode_tubes(answer: Answer, batch: Batch, *, true_spans: bool = False) -> list[Tube]:
    """One tube for each example.

    With `true_spans` the span is the sample's own, for judging boxes alone.
    """
    return [
        decode_tube(
            span_frames(span, example.axis) if example.sample is None or not true_spans else example.sample.span,
            box[: example.axis.steps],
            example.axis,
            example.record,
            score=float(score),
        )
        for span, box, score, example in zip(
            answer.spans.cpu().numpy(),
            answer.boxes.cpu().numpy(),
            answer.scores.cpu().numpy(),
            batch.examples,
            strict=True,
        )
    ]


def decode_tube(span: Span, step_boxes: np.ndarray, axis: StepAxis, record: VideoRecord, *, score: float) -> Tube:
    """A span and one box a step, as a tube.

    Args:
        span: in source frames.
        step_boxes: float (step, 4), xyxy in [0, 1].
        axis: the example's time axis.
        record: gives the picture's size.
        score: predicted tIoU.
    """
    return Tube(span=span, boxes=boxes_over(span, step_boxes, axis, record), score=score)


def boxes_over(span: Span, step_boxes: np.ndarray, axis: StepAxis, record: VideoRecord) -> np.ndarray:
    """One box for each frame of a span, in source pixels: float32 (frame, 4).

    Only steps whose moment lies in the span speak: the others were never taught where the object is.
    """
    inside = (axis.centres >= span[0]) & (axis.centres < span[1])
    if not inside.any():
        inside[np.abs(axis.centres - sum(span) / 2).argmin()] = True
    frames = np.arange(*span) + 0.5
    scale = np.array([record.width, record.height] * 2, np.float32)
    return interpolate_boxes(frames, axis.centres[inside], step_boxes[inside]) * scale


def span_frames(span_steps: np.ndarray, axis: StepAxis) -> Span:
    """Whole frames of a span in steps; at least one."""
    low, high = axis.segment
    start, end = (round(float(point)) for point in axis.to_frames(span_steps))
    start = min(start, high - 1)
    return max(start, low), max(min(end, high), start + 1)
