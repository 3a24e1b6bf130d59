"""Grounding: one video and one sentence in, one tube out."""

from __future__ import annotations

import json
from pathlib import Path

from extract.errors import MissingInputError
from extract.extraction import OnClips
from extract.io.files import is_file, write_text
from extract.io.names import name_text
from pipeline.checkpoint import Use
from pipeline.inference.predictor import Grounding, GroundingPredictor


def ground(
    video: Path,
    query: str,
    run: Path,
    *,
    device: str,
    store_place: str | None = None,
    spare_place: str | None = None,
    decode_timeout_s: float = 60.0,
    use: Use = "last",
    on_clips: OnClips = lambda *_: None,
) -> Grounding:
    """Find the tube that one query describes in one video.

    Args:
        video: a video file.
        query: a sentence.
        run: folder of a training run.
        device: "auto", "cpu", "cuda" or "cuda:N".
        store_place: a store to read the features from, and to add them to.
        spare_place: a store that is used in the same way if none is named, it exists, and its settings fit the run.
        decode_timeout_s: seconds without a frame after which the decoder is stopped.
        use: weights of the run's last epoch, or of its best one by validation ("best").
        on_clips: progress of extraction.

    Raises:
        GkcmnError: an input is missing or does not fit; the message names it.
    """
    if not is_file(video):
        raise MissingInputError(f"{video}: no such file; check the path")
    predictor = GroundingPredictor.from_pretrained(run, device=device, use=use)
    predictor.encode_query(query)  # a query without words is refused before the video is decoded
    encoded = predictor.encode_video(
        video,
        store=store_place,
        default_store=spare_place,
        decode_timeout_s=decode_timeout_s,
        on_clips=on_clips,
    )
    return predictor.predict(encoded, query)


def write_json(grounding: Grounding, path: Path) -> None:
    """Write a grounding as JSON: a box in source pixels for each frame of the span. Raises OutputError."""
    start, end = grounding.tube.span
    start_s, end_s = grounding.span_s
    record = grounding.record
    content = {
        "video": name_text(grounding.video),
        "query": grounding.text,
        "words": grounding.query.words,
        "width": record.width,
        "height": record.height,
        "fps": record.fps,
        "frame_count": record.frame_count,
        "fault": record.fault,
        "span": {"start_frame": start, "end_frame": end, "start_s": start_s, "end_s": end_s},
        "score": grounding.tube.score,
    }
    boxes = [
        {"frame": frame, "s": round(float(grounding.frame_times[frame]), 4), "box": [round(float(x), 2) for x in box]}
        for frame, box in zip(range(start, end), grounding.tube.boxes, strict=True)
    ]
    # One line a box: a person can read it, and so can grep.
    head = json.dumps(content, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(box)}" for box in boxes)
    write_text(path, f'{head},\n  "boxes": [\n{lines}\n  ]\n}}\n')
