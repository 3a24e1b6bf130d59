"""Start times of frames, computed from the timestamps of the container."""

from __future__ import annotations

import math

JUMP_S = 1.0
"""Smallest backward jump in seconds that is a restarted clock, as in concatenated files, or a wrong timestamp."""
FEW_FRAMES = 5
"""A backward jump of at least this many frames also counts as a restarted clock if the following frame is behind too. A
smaller jump is a wrong timestamp."""
FAR_S = 10.0
"""After a forward jump of more seconds than this, the previous clock continues if the timestamp is the next one
expected on it. The timestamps between the two jumps were wrong."""
LEAST_S = 0.001
"""Smallest step in seconds by which time advances from frame to frame, even if the timestamps do not increase; above 10
frames per second it is 1/100 of the frame duration instead."""
WRAP_PAUSE_S = 3600.0
"""Longest pause in seconds that is accepted where a clock wraps around to 0. With a longer pause, the timestamp belongs
to a different clock, which libav mistook for the first one."""


def wraps_too_far(before_s: float, stamp_s: float, period_s: float | None) -> bool:
    """Return whether a timestamp that is ahead of the previous one belongs to a different clock.

    This is the case if the clock wraps around between the two and the pause is longer than WRAP_PAUSE_S.

    Args:
        before_s: the previous timestamp in seconds.
        stamp_s: the next timestamp in seconds.
        period_s: the period of the clock in seconds; None if it does not wrap around.
    """
    if period_s is None or stamp_s - before_s <= WRAP_PAUSE_S:
        return False
    return math.floor(before_s / period_s) != math.floor(stamp_s / period_s)


class Clock:
    """Converts timestamps to strictly increasing times in seconds, as a player counts them.

    Pauses are kept, whatever their length. If the timestamps jump back, time continues with the next frame.
    """

    def __init__(self, *, origin_s: float, fps: float, period_s: float | None = None, first_s: float = 0.0) -> None:
        """Initialize the clock, before the first frame.

        Args:
            origin_s: the timestamp of second 0.
            fps: frames per second, used for frames whose timestamp is missing or wrong.
            period_s: time in seconds after which timestamps wrap around to 0; None if they do not.
            first_s: start time of the first frame in seconds, used if it has no timestamp.
        """
        self._step_s = 1 / fps
        self._gap_s = self._step_s
        self._last_s = first_s - self._step_s
        self._shift_s = self._before_s = -origin_s
        self._stamp_s = origin_s
        self._left_s = origin_s
        self._period_s = period_s
        self.restarts: list[float] = []
        """Value in seconds to add to the timestamps after each restart, in order."""

    def __call__(self, stamp_s: float | None, following_s: float | None = None) -> float:
        """Return the start time of the next frame in seconds.

        Args:
            stamp_s: the timestamp of the frame in seconds; None if it has none.
            following_s: the timestamp of the frame after it; None if there is none.
        """
        after_s = self._last_s + self._gap_s
        if stamp_s is None or self._is_wrong(stamp_s, following_s):
            self._last_s = after_s
            return after_s
        step_s = stamp_s + self._shift_s - self._last_s
        is_due = stamp_s > self._left_s and abs(stamp_s + self._before_s - after_s) < JUMP_S
        if step_s > FAR_S and is_due:
            self._restart(self._before_s)
        elif wraps_too_far(self._stamp_s, stamp_s, self._period_s):
            self._restart(after_s - stamp_s)
        elif self._falls_back(step_s, following_s):
            is_wrap = self._period_s is not None and 0 < step_s + self._period_s <= WRAP_PAUSE_S
            self._restart(self._shift_s + self._period_s if is_wrap and self._period_s else after_s - stamp_s)
        self._stamp_s = stamp_s
        # Round to nanoseconds, so that rounding errors do not result in times such as -1e-12.
        now_s = max(round(stamp_s + self._shift_s, 9), self._last_s + min(self._step_s / 100, LEAST_S))
        # Use the last gap between frames: the average rate is unreliable for concatenated files and for files with
        # pauses.
        gap_s = now_s - self._last_s
        self._gap_s = gap_s if LEAST_S < gap_s < JUMP_S else self._step_s
        self._last_s = now_s
        return now_s

    def _falls_back(self, step_s: float, following_s: float | None) -> bool:
        """Return whether a backward jump of the timestamps is a restart of the clock."""
        stays = following_s is None or following_s + self._shift_s <= self._last_s
        return step_s <= -JUMP_S or (stays and step_s <= -FEW_FRAMES * self._step_s)

    def _is_wrong(self, stamp_s: float, following_s: float | None) -> bool:
        """Return whether a timestamp jumps while the following one continues on the current clock."""
        if following_s is None:
            return False
        step_s, next_s = (stamp + self._shift_s - self._last_s for stamp in (stamp_s, following_s))
        if step_s > JUMP_S:
            return LEAST_S < next_s <= step_s - JUMP_S
        return step_s <= -JUMP_S and LEAST_S < next_s <= FAR_S

    def _restart(self, shift_s: float) -> None:
        self._before_s, self._shift_s = self._shift_s, shift_s
        self._left_s = self._stamp_s
        self.restarts.append(shift_s)
