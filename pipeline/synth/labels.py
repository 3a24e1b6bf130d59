"""Read and write the samples of one synthetic video as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from extract.errors import OutputError
from extract.io.files import write_text
from extract.io.json_text import read_json_file
from pipeline import types
from pipeline.data.json_lines import BoxSides
from pipeline.data.json_lines import first_fault as first_form_fault
from pipeline.data.jsonl import box_rows
from pipeline.data.sample_rules import first_fault
from pipeline.synth.language.sentences import SPAN_FRACTION, Sample
from pipeline.synth.rendering.renderer import Box
from pipeline.synth.scene.camera import HEIGHT_PIXELS, WIDTH_PIXELS
from pipeline.synth.scene.script import Script, Split
from pipeline.types import Kind

MIN_SEEN = 0.8
"""Minimum share of a span's frames in which the actor must be visible."""
MIN_SIDE = 0.06
"""Minimum median length of the longer side of the boxes, as a fraction of the frame's height."""
_REDRAW = "remove the file and run synth again"

Tube = tuple[Sample, list[Box | None]]
"""A sample and a box for each frame of its span."""


def seen_part(sample: Sample, boxes: list[Box | None], script: Script) -> Tube | None:
    """Shorten a sample to the frames from the first to the last in which its actor is visible.

    Args:
        sample: the sample.
        boxes: a box for each frame of the sample's span; None in frames where the actor is not visible.
        script: the scene.

    Returns:
        the shortened sample and its boxes, or None if the actor is too small, hidden for too long, or visible too
        briefly.
    """
    seen = [index for index, box in enumerate(boxes) if box is not None]
    if not seen:
        return None
    start, end = seen[0], seen[-1] + 1
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in boxes if box is not None]
    if (
        end - start < SPAN_FRACTION[0] * script.frames
        or len(seen) < MIN_SEEN * (end - start)
        or np.median(sides) < MIN_SIDE * HEIGHT_PIXELS
    ):
        return None
    span = replace(sample, start_frame=sample.start_frame + start, end_frame=sample.start_frame + end)
    return span, boxes[start:end]


def write_labels(path: Path, split: Split, number: str, tubes: Iterable[Tube], script: Script) -> None:
    """Write the samples of one video as JSON.

    Args:
        path: the file to write.
        split: the video's split.
        number: the video's number in the split, with four digits.
        tubes: samples and their boxes.
        script: the scene.

    Raises:
        OutputError: the file cannot be written.
    """
    labels = [
        {
            "id": f"{split}-{number}-{count}",
            "video": f"{split}/{number}.mp4",
            "query": sample.query,
            "kind": sample.kind,
            "span": [sample.start_frame, sample.end_frame],
            "boxes": boxes,
            "frame_count": script.frames,
            "fps": float(script.rate),
            "split": split,
        }
        for count, (sample, boxes) in enumerate(tubes)
    ]
    write_text(path, json.dumps(labels) + "\n")


class _Label(BaseModel):
    """Schema of one sample in the JSON file."""

    id: str
    video: str
    query: str
    kind: Kind
    span: tuple[int, int]
    boxes: list[BoxSides | None]
    frame_count: int
    fps: float
    split: str


def read_labels(path: Path) -> list[types.Sample]:
    """Read the samples of one synthetic video.

    Raises:
        OutputError: the file is damaged.
    """
    try:
        labels = TypeAdapter(list[_Label]).validate_python(read_json_file(path))
    except (OSError, ValueError) as error:
        reason = first_form_fault(error) if isinstance(error, ValidationError) else error
        raise OutputError(f"{path}: damaged ({reason}); {_REDRAW}") from error
    samples = [
        types.Sample(
            id=label.id,
            video=label.video,
            query=label.query,
            kind=label.kind,
            segment=None,
            span=label.span,
            boxes=box_rows(label.boxes),
            split=label.split,
            size=(WIDTH_PIXELS, HEIGHT_PIXELS),
            frame_count=label.frame_count,
            fps=label.fps,
        )
        for label in labels
    ]
    if (fault := first_fault(samples, set())) is not None:
        raise OutputError(
            f"{path}: damaged (sample {samples[fault[0]].id!r}: {fault[1].field}: {fault[1].cause}); {_REDRAW}"
        )
    return samples
