"""When frames begin, from the stamps that a container gives them."""

from __future__ import annotations

BACK_S = 1.0
"""Files joined end to end have clocks of their own, of which each begins so much before where the last one stood; a
smaller step back is a wrong stamp."""
FORWARD_S = 10.0
"""Where a clock may be cut, a longer step forward is another clock, or a wrong stamp, and no pause."""
LEAST_S = 0.001
"""Between two frames, where the stamps do not go forward."""


class Clock:
    """Turns stamps into seconds that go forward from 0, with one clock in place of several."""

    def __init__(self, *, origin_s: float, fps: float, may_be_cut: bool) -> None:
        """Start before the first frame.

        Args:
            origin_s: the stamp that is second 0.
            fps: frames a second, to place what has no stamp, or a wrong one.
            may_be_cut: whether a stamp may jump forward and mean nothing by it, as in transport streams.
        """
        self._step_s = 1 / fps
        self._last_s = -self._step_s
        self._may_be_cut = may_be_cut
        # That of now, and the one before: after a single wrong stamp the old one fits again.
        self._shifts = (-origin_s, -origin_s)

    def __call__(self, stamp_s: float | None) -> float:
        """Seconds at which the next frame begins, given its stamp, if it has one."""
        after_s = self._last_s + self._step_s
        if stamp_s is None:
            self._last_s = after_s
            return after_s
        shift = min(self._shifts, key=lambda shift: abs(stamp_s + shift - after_s))
        step_s = stamp_s + shift - self._last_s
        if step_s <= -BACK_S or (self._may_be_cut and step_s > FORWARD_S):
            shift = after_s - stamp_s
        if shift != self._shifts[0]:
            self._shifts = (shift, self._shifts[0])
        self._last_s = max(stamp_s + shift, self._last_s + min(self._step_s / 100, LEAST_S))
        return self._last_s
