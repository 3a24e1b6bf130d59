"""Ground one query in one video, and write the result as JSON."""

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
        query: a sentence, such as "the man in red".
        run: folder of a training run.
        device: "auto", "cpu", "cuda" or "cuda:N".
        store_place: path or URL of a feature store; features are read from it, and added to it if missing.
        spare_place: used in the same way if `store_place` is None, the store exists, and its settings match the run.
        decode_timeout_s: seconds without a frame after which the decoder is stopped.
        use: "last" for the weights of the run's last epoch, "best" for those of its best epoch by validation.
        on_clips: called with the video's key, the number of clips done and the total.

    Raises:
        GkcmnError: an input is missing, damaged or incompatible; the message gives it.
    """
    if not is_file(video):
        raise MissingInputError(f"{video}: no such file; check the path")
    predictor = GroundingPredictor.from_pretrained(run, device=device, use=use)
    predictor.encode_query(query)  # reject a query without words before decoding the video
    encoded = predictor.encode_video(
        video,
        store=store_place,
        default_store=spare_place,
        decode_timeout_s=decode_timeout_s,
        on_clips=on_clips,
    )
    return predictor.predict(encoded, query)


def write_json(grounding: Grounding, path: Path) -> None:
    """Write a grounding as JSON, with one box in source pixels for each frame of the span.

    Args:
        grounding: the result of `ground` or of a predictor.
        path: the file to write.

    Raises:
        OutputError: the file cannot be written.
    """
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
    # Write one line per box, which is easy to read and to search with grep.
    head = json.dumps(content, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(box)}" for box in boxes)
    write_text(path, f'{head},\n  "boxes": [\n{lines}\n  ]\n}}\n')
