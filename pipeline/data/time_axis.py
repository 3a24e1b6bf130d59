"""The model's time axis: steps, and their map to source frames.

Time is continuous here: frame f covers [f, f + 1) on the frame axis, step t covers [t, t + 1) on the step
axis. Step t's own moment is the middle of its clips; half-way between two moments one step ends and the next
begins. Clips overlap, steps do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import Span


@dataclass(frozen=True, kw_only=True)
class StepAxis:
    """The steps of one segment of one video."""

    segment: Span
    groups: np.ndarray
    """int (step, 2): half-open range of the clips that make up each step."""
    centres: np.ndarray
    """float64 (step,), on the frame axis, ascending."""

    @property
    def steps(self) -> int:
        """T of this segment."""
        return len(self.centres)

    @property
    def edges(self) -> np.ndarray:
        """float64 (step + 1,): where steps begin and end on the frame axis; the outermost are the segment's."""
        inner = (self.centres[1:] + self.centres[:-1]) / 2
        return np.concatenate([[self.segment[0]], inner, [self.segment[1]]])

    def to_frames(self, steps: np.ndarray) -> np.ndarray:
        """Points of the step axis on the frame axis, clamped to the segment."""
        return np.interp(steps, np.arange(self.steps + 1), self.edges)

    def to_steps(self, frames: np.ndarray) -> np.ndarray:
        """Points of the frame axis on the step axis, clamped to [0, T]."""
        return np.interp(frames, self.edges, np.arange(self.steps + 1))


def step_axis(clip_frames: np.ndarray, segment: Span | None, *, max_steps: int) -> StepAxis:
    """Lay the steps over a segment.

    The clips whose middle lies in the segment are its steps; if there are more than `max_steps`, adjacent
    clips are joined into that many groups of nearly equal size.

    Args:
        clip_frames: int (clip, 2), half-open frame ranges.
        segment: frames; None is the whole video.
        max_steps: T.
    """
    middles = clip_frames.mean(axis=1)
    bounds = segment or (0, int(clip_frames[-1, 1]))
    inside = np.flatnonzero((middles >= bounds[0]) & (middles < bounds[1]))
    if len(inside) == 0:
        inside = np.array([np.abs(middles - sum(bounds) / 2).argmin()])
    count = min(len(inside), max_steps)
    marks = inside[0] + np.linspace(0, len(inside), count + 1).round().astype(int)
    groups = np.stack([marks[:-1], marks[1:]], axis=1)
    return StepAxis(
        segment=bounds,
        groups=groups,
        centres=np.array([middles[first:last].mean() for first, last in groups]),
    )


def interpolate_boxes(at: np.ndarray, times: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes at the moments `at`, linear between those at `times` (ascending), constant beyond: (len(at), 4)."""
    return np.stack([np.interp(at, times, side) for side in boxes.T], axis=1).astype(np.float32)
