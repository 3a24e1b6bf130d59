"""Choose the frames that a score compares: our protocol and those of two published evaluators. See docs/protocols.md.

`frames`    every frame; spans are used unchanged, with exclusive ends.
`tubedetr`  at most 5 frames per second and 200 in total, from the segment without its last frame; a predicted span is
            replaced by the range from its first compared frame to its last, inclusive. (Yang et al., TubeDETR, 2022)
`stcat`     every frame; ends of spans are limited to the segment's last frame and exclusive, so that this frame never
            counts. (Jin et al., STCAT, 2022)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.types import Sample, Span

Protocol = Literal["frames", "tubedetr", "stcat"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
TUBEDETR_FPS = 5
TUBEDETR_FRAMES = 200


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The true and the predicted span after a protocol's changes, and the frames at which boxes are compared."""

    true: Span
    predicted: Span
    union: np.ndarray
    """int (frame,): compared frames from the earlier start to the later end, exclusive."""
    shared: np.ndarray
    """int (frame,): compared frames that are in both spans."""


def compare_spans(sample: Sample, predicted: Span, protocol: Protocol) -> Comparison:
    """Compare a predicted span with a sample's true span.

    Args:
        sample: the sample with the true span.
        predicted: half-open range of source frames; may be empty.
        protocol: which frames are compared.

    Raises:
        ValueError: the protocol needs the sample's segment or frame rate, and it is unknown.
    """
    true = sample.span
    frames: np.ndarray | None = None
    if protocol == "stcat":
        last = segment_of(sample)[1] - 1
        true, predicted = (true[0], min(true[1], last)), (predicted[0], min(predicted[1], last))
    elif protocol == "tubedetr":
        frames = tubedetr_frames(segment_of(sample), _rate(sample))
        held = frames[(frames >= predicted[0]) & (frames < predicted[1])]
        predicted = (int(held[0]), int(held[-1]) + 1) if len(held) else (predicted[0], predicted[0])
    union = np.arange(min(true[0], predicted[0]), max(true[1], predicted[1])) if frames is None else frames
    union = union[(union >= min(true[0], predicted[0])) & (union < max(true[1], predicted[1]))]
    shared = union[(union >= max(true[0], predicted[0])) & (union < min(true[1], predicted[1]))]
    return Comparison(true=true, predicted=predicted, union=union, shared=shared)


def tubedetr_frames(segment: Span, fps: float) -> np.ndarray:
    """Return the frames of a segment that TubeDETR's evaluator compares.

    Args:
        segment: half-open range of source frames.
        fps: frame rate of the video, in frames per second.

    Returns:
        int (frame,), ascending; at most `TUBEDETR_FRAMES` frames.
    """
    ids = np.arange(segment[0], max(segment[0] + 1, segment[1] - 1))
    # Keep the first frame of each fifth of a second.
    ticks = np.floor(ids * min(1.0, TUBEDETR_FPS / fps)).astype(np.int64)
    ids = ids[np.concatenate([[True], ticks[1:] > ticks[:-1]])]
    if len(ids) > TUBEDETR_FRAMES:
        ids = ids[np.arange(TUBEDETR_FRAMES) * len(ids) // TUBEDETR_FRAMES]
    return ids


def segment_of(sample: Sample) -> Span:
    """Return a sample's segment, or else its whole video. Raises ValueError if neither is known."""
    if sample.segment is not None:
        return sample.segment
    if sample.frame_count is None:
        raise ValueError(f"sample {sample.id!r} has no segment, and its video's length is not known")
    return 0, sample.frame_count


def _rate(sample: Sample) -> float:
    if sample.fps is None:
        raise ValueError(f"sample {sample.id!r}: its video's rate is not known")
    return sample.fps
