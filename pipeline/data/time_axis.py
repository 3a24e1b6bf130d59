"""Map the model's time steps to source frames and back.

Time is continuous here: frame f covers [f, f + 1) on the frame axis, and step t covers [t, t + 1) on the step axis.
The center of a step is the mean of the midpoints of its clips. One step ends and the next starts halfway between their
centers. Clips overlap; steps do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import Span


@dataclass(frozen=True, kw_only=True)
class StepAxis:
    """The time steps of one segment of one video."""

    segment: Span
    groups: np.ndarray
    """int (step, 2): half-open range of the clips that are averaged in each step."""
    centres: np.ndarray
    """float64 (step,): center of each step on the frame axis, ascending."""

    @property
    def steps(self) -> int:
        """Number of time steps T."""
        return len(self.centres)

    @property
    def edges(self) -> np.ndarray:
        """float64 (step + 1,): boundaries of the steps on the frame axis; the first and last are the segment's."""
        inner = (self.centres[1:] + self.centres[:-1]) / 2
        return np.concatenate([[self.segment[0]], inner, [self.segment[1]]])

    def to_frames(self, steps: np.ndarray) -> np.ndarray:
        """Convert positions on the step axis to the frame axis.

        Args:
            steps: float (n,), positions in time steps; positions outside [0, T] are clamped.

        Returns:
            float64 (n,), positions in frames, inside the segment.
        """
        return np.interp(steps, np.arange(self.steps + 1), self.edges)

    def to_steps(self, frames: np.ndarray) -> np.ndarray:
        """Convert positions on the frame axis to the step axis.

        Args:
            frames: float (n,), positions in frames; positions outside the segment are clamped.

        Returns:
            float64 (n,), positions in time steps, in [0, T].
        """
        return np.interp(frames, self.edges, np.arange(self.steps + 1))


def step_axis(clip_frames: np.ndarray, segment: Span | None, *, max_steps: int) -> StepAxis:
    """Divide a segment into time steps.

    Each clip with its midpoint in the segment is one step; without such a clip, the nearest one is. If there are more
    than `max_steps` clips, adjacent clips are joined into `max_steps` groups of nearly equal size.

    Args:
        clip_frames: int (clip, 2), half-open frame ranges of the clips.
        segment: half-open frame range; None means the whole video.
        max_steps: maximum number of time steps T.
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
    """Interpolate boxes linearly in time; before the first and after the last time they are constant.

    Args:
        at: float (n,), positions on the frame axis to interpolate at.
        times: float (box,), positions of `boxes` on the frame axis, ascending.
        boxes: float (box, 4).

    Returns:
        float32 (n, 4).
    """
    return np.stack([np.interp(at, times, side) for side in boxes.T], axis=1).astype(np.float32)
