"""Convert the model's output to tubes in source frames and pixels."""

from __future__ import annotations

import numpy as np

from extract.records import VideoRecord
from model.base import Answer
from pipeline.data.dataset import Batch
from pipeline.data.time_axis import StepAxis, interpolate_boxes
from pipeline.types import Span, Tube


def decode_tubes(answer: Answer, batch: Batch, *, true_spans: bool = False) -> list[Tube]:
    """Return one tube per example.

    Args:
        answer: decoded output of the model for the batch.
        batch: the batch that the model was run on.
        true_spans: use the true span of each example that has one in place of the predicted span, to score only boxes.
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
    """Build a tube from a span and one box per time step.

    Args:
        span: half-open range of source frames.
        step_boxes: float (step, 4), xyxy in [0, 1].
        axis: the example's time axis.
        record: the video's record, for its frame size.
        score: predicted tIoU, in [0, 1].
    """
    return Tube(span=span, boxes=boxes_over(span, step_boxes, axis, record), score=score)


def boxes_over(span: Span, step_boxes: np.ndarray, axis: StepAxis, record: VideoRecord) -> np.ndarray:
    """Interpolate one box per frame of a span from one box per time step.

    Only steps whose center is in the span are used, because training gives boxes only to steps inside the true span.
    If there is no such step, the nearest one is used.

    Args:
        span: half-open range of source frames.
        step_boxes: float (step, 4), xyxy in [0, 1].
        axis: the example's time axis.
        record: the video's record, for its frame size.

    Returns:
        float32 (frame, 4), xyxy in source pixels.
    """
    inside = (axis.centres >= span[0]) & (axis.centres < span[1])
    if not inside.any():
        inside[np.abs(axis.centres - sum(span) / 2).argmin()] = True
    frames = np.arange(*span) + 0.5
    scale = np.array([record.width, record.height] * 2, np.float32)
    return interpolate_boxes(frames, axis.centres[inside], step_boxes[inside]) * scale


def span_frames(span_steps: np.ndarray, axis: StepAxis) -> Span:
    """Round a span on the step axis to source frames.

    Args:
        span_steps: float (2,), start and end on the step axis.
        axis: the example's time axis.

    Returns:
        Half-open frame range inside the segment, with at least one frame.
    """
    low, high = axis.segment
    start, end = (round(float(point)) for point in axis.to_frames(span_steps))
    start = min(start, high - 1)
    return max(start, low), max(min(end, high), start + 1)
