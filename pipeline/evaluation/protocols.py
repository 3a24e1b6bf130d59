"""Which frames are compared: ours, and those of two published evaluators. See docs/protocols.md.

`frames`    every frame, half-open ends as they are.
`tubedetr`  at most 5 frames a second and 200 in all, from the segment without its last frame; a predicted span
            becomes that of the frames it holds, the last plus one. (Yang et al., TubeDETR, 2022)
`stcat`     every frame; ends are cut to the segment's last frame, which itself never counts. (Jin et al.,
            STCAT, 2022)
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
    """Two spans as a protocol sees them, and the frames at which boxes are compared."""

    true: Span
    predicted: Span
    union: np.ndarray
    """int (frame,): compared frames from the earlier start to the later end."""
    shared: np.ndarray
    """int (frame,): those that lie in both spans."""


def compare_spans(sample: Sample, predicted: Span, protocol: Protocol) -> Comparison:
    """Lay a predicted span beside a sample's true one.

    Raises:
        ValueError: the protocol needs the sample's segment or rate, and they are not known.
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
    """The frames of a segment that TubeDETR looks at: int (frame,), ascending."""
    ids = np.arange(segment[0], max(segment[0] + 1, segment[1] - 1))
    # A frame is taken where the count of fifths of a second rises.
    ticks = np.floor(ids * min(1.0, TUBEDETR_FPS / fps)).astype(np.int64)
    ids = ids[np.concatenate([[True], ticks[1:] > ticks[:-1]])]
    if len(ids) > TUBEDETR_FRAMES:
        ids = ids[np.arange(TUBEDETR_FRAMES) * len(ids) // TUBEDETR_FRAMES]
    return ids


def segment_of(sample: Sample) -> Span:
    """A sample's segment, or all of its video. Raises ValueError if neither is known."""
    if sample.segment is not None:
        return sample.segment
    if sample.frame_count is None:
        raise ValueError(f"sample {sample.id!r} has no segment, and its video's length is not known")
    return 0, sample.frame_count


def _rate(sample: Sample) -> float:
    if sample.fps is None:
        raise ValueError(f"sample {sample.id!r}: its video's rate is not known")
    return sample.fps
