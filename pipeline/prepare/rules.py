"""From a draft and its video to a sample. Each rule has a name, and rejects the record or says what it did."""

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
"""Words that the paper's model reads."""
FRAMES_OFF = 0.01
"""Share of a video's frames by which an annotation may be wrong about their number (and 2 at least)."""
SHAPE_OFF = 0.02
"""Share by which an annotation's picture may differ from the video's in its ratio of sides."""

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
"""Records that a rule was met, with what was seen."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the rules made of one draft."""

    sample: Sample | None
    """None if it was rejected."""
    findings: list[Finding]


def settle(draft: Draft, key: str, info: VideoInfo | None) -> Settled:
    """Apply the rules to one draft.

    Args:
        draft: what the data set says.
        key: its video's key in a store.
        info: the video as it is; None where videos are not looked at.
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
    """Why the video cannot be the one that was annotated, if it cannot."""
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
    """End a segment with its video, and a span with its segment, where they are only just too long."""
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
    """Boxes in the video's pixels, cut to its picture; NaN where none is left."""
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
    cut = cut.astype(np.float32)  # as it is written: what is empty then is dropped
    usable = finite & ~unusable_boxes(cut, *np.array([size or (np.nan, np.nan)], np.float32).T)
    if dropped := int((given & ~usable).sum()):
        note("boxes dropped", f"{dropped} frames")
    cut[~usable] = np.nan
    if missing := int((~given).sum()):
        note("frames without box", f"{missing} of {len(boxes)} frames")
    return cut
