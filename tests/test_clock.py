"""Stamps that jump."""

import pytest

from extract.video.timestamps import Clock

PERIOD_S = 2**33 / 90_000


def told(stamps: list[float | None], *, origin_s: float = 0.0) -> list[float]:
    clock = Clock(origin_s=origin_s, fps=10, period_s=PERIOD_S)
    return [clock(stamp, following) for stamp, following in zip(stamps, [*stamps[1:], None], strict=True)]


TEN = [n / 10 for n in range(10)]


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        pytest.param([5.0, 5.1, 5.3, 65.3, 65.4], [0.0, 0.1, 0.3, 60.3, 60.4], id="pause"),
        pytest.param([5.0, 65.0, 125.0, 185.0], [0.0, 60.0, 120.0, 180.0], id="one frame a minute"),
        pytest.param([7.0, 7.1, 7.2], [2.0, 2.1, 2.2], id="late start"),
        pytest.param([5.0, None, 5.2], [0.0, 0.1, 0.2], id="no stamp"),
        pytest.param([5.0, 5.1, 90.0, 5.3, 5.4], [0.0, 0.1, 0.2, 0.3, 0.4], id="one wrong stamp ahead"),
        pytest.param([5.0, 5.1, 0.0, 5.3, 5.4], [0.0, 0.1, 0.2, 0.3, 0.4], id="one wrong stamp behind"),
        pytest.param([50.0, 50.1, 0.0, 0.1, 50.4, 50.5], [45.0, 45.1, 45.2, 45.3, 45.4, 45.5], id="two wrong stamps"),
        pytest.param([5.0, 5.1, 0.0], [0.0, 0.1, 0.2], id="last stamp wrong"),
        pytest.param([5 + t for t in TEN * 2], [*TEN, *(1 + t for t in TEN)], id="joined"),
        pytest.param([5 + t for t in TEN * 3], [*TEN, *(1 + t for t in TEN), *(2 + t for t in TEN)], id="joined twice"),
        pytest.param([5.0, 20.0, 5.0, 20.0], [0.0, 15.0, 15.1, 30.1], id="joined with pauses"),
        pytest.param([PERIOD_S - 60, 0.0, 60.0], [PERIOD_S - 65, PERIOD_S - 5, PERIOD_S + 55], id="clock wraps"),
        # libav takes a clock that starts again below the first stamp for one that has wrapped.
        pytest.param([1000.0, 1000.1, PERIOD_S, PERIOD_S + 0.1], [995.0, 995.1, 995.2, 995.3], id="joined, unwrapped"),
    ],
)
def test_seconds_are_a_player_s(stamps: list[float | None], seconds: list[float]) -> None:
    assert told(stamps, origin_s=5.0) == pytest.approx(seconds)


def test_each_fall_back_is_kept_for_the_sound() -> None:
    clock = Clock(origin_s=5.0, fps=10)
    for stamp in (5.0, 5.1, 0.0, 0.1, 0.2):
        clock(stamp)
    assert clock.restarts == pytest.approx([0.2])


def test_a_stamp_that_comes_twice_shifts_nothing() -> None:
    seconds = told([0.0, 0.1, 0.1, 0.1, 0.4])
    assert seconds == sorted(set(seconds))
    assert seconds[2:] == pytest.approx([0.1, 0.1, 0.4], abs=0.003)
