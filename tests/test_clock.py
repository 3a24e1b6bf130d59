"""Stamps that jump."""

import pytest

from extract.clock import Clock


def told(stamps: list[float | None], *, origin_s: float = 0.0, may_be_cut: bool = False) -> list[float]:
    clock = Clock(origin_s=origin_s, fps=10, may_be_cut=may_be_cut)
    return [clock(stamp) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "may_be_cut", "seconds"),
    [
        ([5.0, 5.1, 5.3, 65.3], False, [0.0, 0.1, 0.3, 60.3]),  # a pause is a pause
        ([5.0, 5.1, 5.3, 65.3, 65.4], True, [0.0, 0.1, 0.3, 0.4, 0.5]),  # but where clocks are cut
        ([5.0, None, 5.2], False, [0.0, 0.1, 0.2]),
        ([5.0, 5.1, 90.0, 5.3, 5.4], True, [0.0, 0.1, 0.2, 0.3, 0.4]),  # one wrong stamp
        ([5.0, 5.1, 0.0, 5.3, 5.4], False, [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([*[5 + n / 10 for n in range(20)], 5.0, 5.1, 5.4], False, [*[n / 10 for n in range(20)], 2.0, 2.1, 2.4]),
    ],
)
def test_seconds_go_on(stamps: list[float | None], may_be_cut: bool, seconds: list[float]) -> None:
    assert told(stamps, origin_s=5.0, may_be_cut=may_be_cut) == pytest.approx(seconds)


def test_a_stamp_that_comes_twice_shifts_nothing() -> None:
    seconds = told([0.0, 0.1, 0.1, 0.1, 0.4])
    assert seconds == sorted(set(seconds))
    assert seconds[2:] == pytest.approx([0.1, 0.1, 0.4], abs=0.003)
