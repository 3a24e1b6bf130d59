"""Work spread over processes."""

from __future__ import annotations

import os

import pytest

from extract.errors import MediaError
from extract.spread import Tell, spread


@pytest.mark.parametrize("workers", [1, 2])
def test_each_item_is_done_and_told_of_and_one_error_ends_no_other(workers: int) -> None:
    def work(item: int, tell: Tell) -> tuple[int, int]:
        tell(item, "begun")
        if item == 2:
            raise MediaError("2: no video; give another")
        return item * item, os.getpid()

    events: list[tuple[object, ...]] = []
    found = list(spread(work, range(5), workers=workers, on_event=lambda *event: events.append(event)))
    # The last may still be on their way when all is done.
    assert events
    assert set(events) <= {(item, "begun") for item in range(5)}
    squares = sorted(done.value()[0] for done in found if done.error is None)
    assert squares == [0, 1, 9, 16]
    (failed,) = [done for done in found if done.error is not None]
    assert failed.item == 2
    with pytest.raises(MediaError, match="2: no video"):
        failed.value()
    processes = {done.value()[1] for done in found if done.error is None}
    assert (os.getpid() in processes) == (workers == 1)


def test_one_item_needs_no_other_process() -> None:
    (done,) = spread(lambda item, _: (item, os.getpid()), ["a"], workers=4)
    assert done.value() == ("a", os.getpid())
