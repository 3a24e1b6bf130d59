"""When frames begin, from the stamps that a container gives them."""

from __future__ import annotations

import math

JUMP_S = 1.0
"""A step back by this much is a clock that starts again, as where files were joined, or a wrong stamp."""
FEW_FRAMES = 5
"""So is a step back by as many frames, if the frame after it lies back too. A smaller one is a wrong stamp."""
FAR_S = 10.0
"""A step forward by more goes back to the clock before, if its next stamp is due: a few wrong stamps came between."""
LEAST_S = 0.001
"""Between two frames, where the stamps do not go forward."""
WRAP_PAUSE_S = 3600.0
"""The longest pause that is believed where a clock comes to its end and starts at 0; with a longer one it is another
clock that starts, which libav has taken for the first."""


def wraps_too_far(before_s: float, stamp_s: float, period_s: float | None) -> bool:
    """Whether the second of two stamps is of another clock, although it lies ahead."""
    if period_s is None or stamp_s - before_s <= WRAP_PAUSE_S:
        return False
    return math.floor(before_s / period_s) != math.floor(stamp_s / period_s)


class Clock:
    """Turns stamps into seconds as a player counts them, but always rising.

    A pause is a pause however long it is. Where the stamps fall back, time goes on with the next frame.
    """

    def __init__(self, *, origin_s: float, fps: float, period_s: float | None = None, first_s: float = 0.0) -> None:
        """Start before the first frame.

        Args:
            origin_s: the stamp that is second 0.
            fps: frames a second, to place what has no stamp, or a wrong one.
            period_s: after so much a stamp starts at 0 again; None if it has bits enough.
            first_s: seconds at which the first frame begins if it has no stamp.
        """
        self._step_s = 1 / fps
        self._gap_s = self._step_s
        self._last_s = first_s - self._step_s
        self._shift_s = self._before_s = -origin_s
        self._stamp_s = origin_s
        self._left_s = origin_s
        self._period_s = period_s
        self.restarts: list[float] = []
        """Seconds to add to a stamp since each fall back of the stamps, in order."""

    def __call__(self, stamp_s: float | None, following_s: float | None = None) -> float:
        """Seconds at which the next frame begins.

        Args:
            stamp_s: its stamp, if it has one.
            following_s: the stamp of the frame after it, if there is one.
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
        # To the nanosecond: no second is -1e-12.
        now_s = max(round(stamp_s + self._shift_s, 9), self._last_s + min(self._step_s / 100, LEAST_S))
        # The average rate of a file with pauses, or of joined files, says little.
        gap_s = now_s - self._last_s
        self._gap_s = gap_s if LEAST_S < gap_s < JUMP_S else self._step_s
        self._last_s = now_s
        return now_s

    def _falls_back(self, step_s: float, following_s: float | None) -> bool:
        """Whether the clock starts again with a step back."""
        stays = following_s is None or following_s + self._shift_s <= self._last_s
        return step_s <= -JUMP_S or (stays and step_s <= -FEW_FRAMES * self._step_s)

    def _is_wrong(self, stamp_s: float, following_s: float | None) -> bool:
        """Whether a stamp jumps away and the one after it is on the clock as it was."""
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
