"""Turn a draft and its video into a sample. Each rule has a name; it rejects the record, or keeps it with a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from extract.records import VideoInfo
from extract.text.normalize import mended
from pipeline.data.sample_rules import facts_fault, unusable_boxes
from pipeline.prepare.records import Draft, Finding
from pipeline.types import Sample

MAX_WORDS = 20
"""Number of words that the paper's model reads."""
FRAMES_OFF = 0.01
"""Allowed difference between annotated and actual frame count, as a fraction of the annotated; at least 2 frames."""
SHAPE_OFF = 0.02
"""Allowed relative difference between the aspect ratios of the annotated frame size and the video."""

REJECTED = {
    "duplicate id": "an earlier record has the same id",
    "no video": "the folder of videos does not contain it, or contains two videos of that name",
    "unreadable video": "its frames cannot be read",
    "another video": "its frame count or its proportions differ from the annotation",
    "no box file": "the folder of boxes has no file for this video, or the file cannot be read",
    "empty sentence": "it has no words",
    "empty span": "it ends where it starts, or before",
    "span outside segment": "it starts before the segment, or ends more than one frame after it",
    "span outside video": "it ends after the video's last frame",
    "unusable value": "a field has a value that no sample can have; the finding names the field",
    "no box": "no frame of the span has a usable box",
}
KEPT = {
    "long sentence": f"it has more than {MAX_WORDS} words; the model reads the first {MAX_WORDS}",
    "segment cut": "it ended after the video; it now ends with the video",
    "span cut": "it ended one frame after the segment or the video; it now ends with it",
    "boxes scaled": "the video has the same proportions as the annotation, but another size",
    "boxes cut": "some extended past the edge of the picture",
    "boxes dropped": "some were empty, inverted, outside the picture or not numbers; those frames have no box",
    "frames without box": "some frames of the span have no box",
}
RULES = {**REJECTED, **KEPT}

Note = Callable[[str, str], None]
"""Callback that records a finding: the rule's name and the details."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Result of `settle`."""

    sample: Sample | None
    """The sample; None if the record was rejected."""
    findings: list[Finding]


def settle(draft: Draft, key: str, info: VideoInfo | None) -> Settled:
    """Apply the rules to one draft.

    Args:
        draft: the record from the data set.
        key: key of its video in a feature store.
        info: facts about the video file; None if the videos are not available.
    """
    findings: list[Finding] = []

    def note(rule: str, detail: str) -> None:
        findings.append(Finding(id=draft.id, video=draft.video, rule=rule, detail=detail))

    if info is not None:
        if (cause := _another(draft, info)) is not None:
            note("another video", cause)
            return Settled(sample=None, findings=findings)
        draft = replace(draft, frame_count=info.frame_count, fps=info.fps)
    draft = _cut(draft, note)
    size = (info.width, info.height) if info is not None else draft.size
    if (fault := facts_fault(replace(draft, video=key, size=size, query=mended(draft.query)))) is not None:
        note(fault.rule, f"{fault.field}: {fault.cause}")
        return Settled(sample=None, findings=findings)
    if (count := len(draft.query.split())) > MAX_WORDS:
        note("long sentence", f"{count} words")
    boxes = np.full((draft.span[1] - draft.span[0], 4), np.nan, np.float32)
    if draft.boxes is not None:
        boxes = _usable(draft.boxes[: len(boxes)], draft.size, size, note)
        if np.isnan(boxes).all():
            note("no box", "")
            return Settled(sample=None, findings=findings)
    sample = Sample(
        id=draft.id,
        video=key,
        query=mended(draft.query).strip(),
        kind=draft.kind,
        segment=draft.segment,
        span=draft.span,
        boxes=boxes,
        split=draft.split,
        size=size,
        frame_count=draft.frame_count,
        fps=draft.fps,
    )
    return Settled(sample=sample, findings=findings)


def _another(draft: Draft, info: VideoInfo) -> str | None:
    """Return why the video cannot be the annotated one, or None if it can."""
    if draft.frame_count is not None:
        allowed = max(2, FRAMES_OFF * draft.frame_count)
        if abs(draft.frame_count - info.frame_count) > allowed:
            return f"{info.frame_count} frames, {draft.frame_count} annotated"
    if draft.size is not None:
        (width, height), shape = draft.size, info.width / info.height
        if abs(shape / (width / height) - 1) > SHAPE_OFF:
            return f"{info.width}x{info.height}, {width}x{height} annotated"
    return None


def _cut(draft: Draft, note: Note) -> Draft:
    """Shorten a segment that ends after the video, and a span that ends one frame after its segment or video."""
    segment, (start, end) = draft.segment, draft.span
    if segment is not None and draft.frame_count is not None and segment[1] > draft.frame_count > segment[0]:
        note("segment cut", f"by {segment[1] - draft.frame_count} frames")
        segment = (segment[0], draft.frame_count)
    bound = segment[1] if segment is not None else draft.frame_count
    if bound is not None and end == bound + 1 and start < bound:
        note("span cut", "by 1 frame")
        end = bound
    return replace(draft, segment=segment, span=(start, end))


def _usable(
    boxes: np.ndarray, annotated: tuple[int, int] | None, size: tuple[int, int] | None, note: Note
) -> np.ndarray:
    """Scale boxes to the video's pixels and clip them to the frame.

    Args:
        boxes: float32 (frame, 4), xyxy in pixels of the annotated size; NaN for a missing box.
        annotated: width and height that the boxes refer to; None means the video's own size.
        size: width and height of the video in pixels; None if unknown.
        note: called for each finding.

    Returns:
        float32 (frame, 4), NaN where there is no usable box.
    """
    boxes = boxes.astype(np.float64)
    given = ~np.isnan(boxes).all(axis=1)
    if annotated is not None and size is not None and annotated != size:
        boxes *= np.divide(size, annotated).tolist() * 2
        note("boxes scaled", f"{annotated[0]}x{annotated[1]} to {size[0]}x{size[1]}")
    finite = np.isfinite(boxes).all(axis=1)
    cut = boxes.copy()
    if size is not None:
        cut = cut.clip(0, size * 2)
        if over := int((finite & (cut != boxes).any(axis=1)).sum()):
            note("boxes cut", f"{over} frames")
    cut[~finite] = np.nan
    cut = cut.astype(np.float32)  # the dtype of the index; boxes that are empty after rounding are dropped
    usable = finite & ~unusable_boxes(cut, *np.array([size or (np.nan, np.nan)], np.float32).T)
    if dropped := int((given & ~usable).sum()):
        note("boxes dropped", f"{dropped} frames")
    cut[~usable] = np.nan
    if missing := int((~given).sum()):
        note("frames without box", f"{missing} of {len(boxes)} frames")
    return cut
