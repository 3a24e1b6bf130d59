"""Check whether samples are valid: the same rules for Parquet indexes, JSON lines, `prepare` and written indexes.

A reader builds a `Sample` from a record and calls these functions. It adds the file and the row or line to the message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

import numpy as np

from extract.text.normalize import has_words
from pipeline.types import Kind, Sample, Span

MAX_FRAMES = 10**7
"""Upper limit of frame numbers: four days at 30 frames per second. Larger numbers are in another unit, perhaps ns."""
MAX_PIXELS = 10**7
"""Upper limit of the absolute value of pixel coordinates."""
SPAN_BEYOND_SEGMENT = 1
"""Number of frames by which a span may exceed its segment: VidSTG is inconsistent about whether ends are inclusive."""
TOGETHER = 1024
"""Number of samples whose boxes are checked at once, small enough to hold two copies in memory."""
_KINDS = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a record is invalid."""

    rule: str
    """Name of the rule, a key of `pipeline.prepare.rules.REJECTED`."""
    field: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.cause}; {self.remedy}"


class Facts(Protocol):
    """All fields of a record except its boxes. `Sample` and `Draft` both provide them."""

    @property
    def id(self) -> str: ...
    @property
    def video(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def segment(self) -> Span | None: ...
    @property
    def span(self) -> Span: ...
    @property
    def split(self) -> str | None: ...
    @property
    def size(self) -> tuple[int, int] | None: ...
    @property
    def frame_count(self) -> int | None: ...
    @property
    def fps(self) -> float | None: ...


def first_fault(samples: Sequence[Sample], seen: set[str], *, need_box: bool = False) -> tuple[int, Fault] | None:
    """Return the row of the first invalid sample and its fault, or None if all samples are valid.

    Args:
        samples: some or all samples of an index.
        seen: ids of the preceding samples, for finding duplicates; the ids of `samples` are added to it.
        need_box: if True, a sample without any box is invalid. Only its span can be scored.
    """
    for begin in range(0, len(samples), TOGETHER):
        part = samples[begin : begin + TOGETHER]
        if (found := _first_fault(part, seen, need_box=need_box)) is not None:
            return begin + found[0], found[1]
    return None


def facts_fault(record: Facts) -> Fault | None:
    """Return the first fault of a record's fields other than its boxes, or None."""
    return _text_fault(record) or _span_fault(record) or _video_facts_fault(record)


def beyond_video(record: Facts, frame_count: int) -> Fault | None:
    """Return the fault of a span or segment that ends after the video, or None.

    Args:
        record: the record to check.
        frame_count: number of frames of the video.
    """
    if record.span[1] > frame_count:
        return Fault(
            rule="span outside video",
            field="span",
            cause=f"the span {list(record.span)} ends after its video of {frame_count} frames",
            remedy="prepare the index again, which then takes the store's count",
        )
    if record.segment is not None and record.segment[1] > frame_count:
        return _unusable(
            "segment",
            f"the segment {list(record.segment)} ends after its video of {frame_count} frames",
            "prepare the index again, which then takes the store's count",
        )
    return None


def unusable_boxes(boxes: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return which boxes are not finite, too large, empty, or entirely outside their frame.

    Args:
        boxes: float (box, 4), xyxy in pixels; a missing box is all NaN and counts as usable.
        width: float (box,) or (1,), width of each box's frame in pixels; NaN if unknown.
        height: float (box,) or (1,), height of each box's frame in pixels; NaN if unknown.

    Returns:
        bool (box,): True for an unusable box.
    """
    # Compare column by column, because numpy reduces rows of four slowly. The limits also exclude NaN and infinity.
    x1, y1, x2, y2 = boxes.T
    sound = (x1 < x2) & (y1 < y2)
    sound &= (x1 >= -MAX_PIXELS) & (y1 >= -MAX_PIXELS) & (x2 <= MAX_PIXELS) & (y2 <= MAX_PIXELS)
    outside = (x1 >= width) | (y1 >= height) | ((x2 <= 0) & (width > 0)) | ((y2 <= 0) & (height > 0))
    bad = ~sound | outside
    places = np.flatnonzero(bad)
    bad[places[np.isnan(boxes[places]).all(axis=1)]] = False
    return bad


def count_fault(boxes: int, span: Span) -> Fault | None:
    """Return the fault if there is not exactly one box per frame of a span, else None.

    Args:
        boxes: number of boxes; a null box counts.
        span: half-open frame range.
    """
    frames = max(0, span[1] - span[0])
    if boxes == frames:
        return None
    return Fault(
        rule="no box",
        field="boxes",
        cause=f"{boxes} boxes for a span of {frames} frames",
        remedy="give one a frame, null where nothing is to be seen",
    )


def box_fault(box: Sequence[float], size: tuple[int, int] | None) -> Fault:
    """Return the fault of a box that `unusable_boxes` found.

    Args:
        box: xyxy in pixels.
        size: width and height of the frame in pixels; None if unknown.
    """
    shown = [float(f"{side:.7g}") for side in box]
    if not all(math.isfinite(side) and abs(side) <= MAX_PIXELS for side in box):
        cause = f"box {shown} holds a number that is no pixel"
    elif box[2] <= box[0] or box[3] <= box[1]:
        cause = f"box {shown} is empty"
    else:
        assert size is not None
        cause = f"box {shown} lies outside the {size[0]}x{size[1]} picture"
    return Fault(rule="no box", field="boxes", cause=cause, remedy="boxes are [x1, y1, x2, y2] in pixels of the source")


def _first_fault(samples: Sequence[Sample], seen: set[str], *, need_box: bool) -> tuple[int, Fault] | None:
    for row, sample in enumerate(samples):
        fault = facts_fault(sample) or _boxes_fault(sample, need_box=need_box)
        if fault is None and sample.id in seen:
            fault = _unusable("id", f"{sample.id!r} stands twice", "make ids distinct")
        if fault is not None:
            return _first_box_fault(samples[:row]) or (row, fault)
        seen.add(sample.id)
    return _first_box_fault(samples)


def _text_fault(record: Facts) -> Fault | None:
    if not has_words(record.query):
        cause = f"{record.query[:60]!a} has no words" if record.query.strip() else "it is empty"
        return Fault(rule="empty sentence", field="query", cause=cause, remedy="say what is to be found")
    for field, text in (("id", record.id), ("video", record.video), ("split", record.split)):
        if text is not None and not text.strip():
            return _unusable(field, "it is empty", "leave it out" if field == "split" else "give it")
    if "\0" in record.video:
        return _unusable("video", "it holds a NUL, which no path can", "mend it")
    for field, text in (("id", record.id), ("video", record.video), ("query", record.query), ("split", record.split)):
        if text is not None and not text.isascii() and not _is_unicode(text):
            return _unusable(field, "it holds half of a surrogate pair, which is no character", "mend it")
    if record.kind not in _KINDS:
        return _unusable("kind", f"it is {record.kind!r}", f"it is {' or '.join(_KINDS)}")
    return None


def _span_fault(record: Facts) -> Fault | None:
    (start, end), segment = record.span, record.segment
    if end <= start:
        return Fault(
            rule="empty span",
            field="span",
            cause=f"the span {[start, end]} is empty",
            remedy="its end is the frame after the last",
        )
    if segment is not None and segment[1] <= segment[0]:
        return Fault(
            rule="span outside segment",
            field="segment",
            cause=f"the segment {list(segment)} is empty",
            remedy="its end is the frame after the last",
        )
    if segment is not None and not (segment[0] <= start < segment[1] and end <= segment[1] + SPAN_BEYOND_SEGMENT):
        return Fault(
            rule="span outside segment",
            field="span",
            cause=f"the span {[start, end]} exceeds the segment {list(segment)}",
            remedy="mend either (one frame at its end is allowed)",
        )
    if start < 0 or end > MAX_FRAMES:
        return Fault(
            rule="span outside video",
            field="span",
            cause=f"the span {[start, end]} holds numbers that are no frames",
            remedy=f"frames count from 0, and lie below {MAX_FRAMES}",
        )
    if segment is not None and (segment[0] < 0 or segment[1] > MAX_FRAMES):
        return _unusable(
            "segment",
            f"the segment {list(segment)} holds numbers that are no frames",
            f"frames count from 0, and lie below {MAX_FRAMES}",
        )
    return None


def _video_facts_fault(record: Facts) -> Fault | None:
    if record.size is not None and not all(1 <= side <= MAX_PIXELS for side in record.size):
        return _unusable("size", f"the picture is {record.size[0]}x{record.size[1]}", "give its width and height")
    if record.fps is not None and not (math.isfinite(record.fps) and record.fps > 0):
        return _unusable("fps", f"it is {record.fps}", "give frames a second, or leave it out")
    if record.frame_count is None:
        return None
    if not 1 <= record.frame_count <= MAX_FRAMES:
        return _unusable("frame_count", f"it is {record.frame_count}", "give the video's frames, or leave it out")
    return beyond_video(record, record.frame_count)


def _boxes_fault(sample: Sample, *, need_box: bool) -> Fault | None:
    """Return the fault if there are too few, too many or no boxes, else None; does not check their coordinates."""
    if (fault := count_fault(len(sample.boxes), sample.span)) is not None:
        return fault
    if need_box and np.isnan(sample.boxes).all():
        return Fault(
            rule="no box", field="boxes", cause="no frame of the span has a box", remedy="leave the sample out"
        )
    return None


def _first_box_fault(samples: Sequence[Sample]) -> tuple[int, Fault] | None:
    """Return the row of the first sample with an unusable box and the fault. Checks all boxes at once, for speed."""
    if not samples:
        return None
    counts = [len(sample.boxes) for sample in samples]
    sizes = np.array([sample.size or (math.nan, math.nan) for sample in samples], np.float32)
    width, height = (np.repeat(sides, counts) for sides in sizes.T)
    bad = unusable_boxes(np.concatenate([sample.boxes for sample in samples]), width, height)
    if not bad.any():
        return None
    place = int(bad.argmax())
    ends = np.cumsum(counts)
    row = int(np.searchsorted(ends, place, side="right"))
    sample = samples[row]
    return row, box_fault(sample.boxes[place - int(ends[row]) + counts[row]].tolist(), sample.size)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unusable(field: str, cause: str, remedy: str) -> Fault:
    return Fault(rule="unusable value", field=field, cause=cause, remedy=remedy)
