"""Work spread over processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from extract.errors import MediaError, WorkerDiedError
from extract.parallel import Tell, _signals_later, spread

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_workers_have_started(number: signal.Signals) -> None:
    arrived = []
    before = signal.signal(number, lambda came, _: arrived.append(came))
    script = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    try:
        with _signals_later():
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # in which Python would call the handler
            assert arrived == []
            started = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert arrived == [number]
    finally:
        signal.signal(number, before)
    assert started.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("workers", [1, 2])
def test_each_item_is_done_and_told_of_and_one_error_ends_no_other(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "socket", "pickle", "torch", "numpy", "model", "extract"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the working folder')")
    monkeypatch.chdir(tmp_path)

    def work(item: int, tell: Tell) -> tuple[int, int]:
        tell(item, "begun")
        time.sleep(0.3)  # so that no worker does all
        if item == 2:
            raise MediaError("2: no video; give another")
        return item * item, os.getpid()

    environ = dict(os.environ)
    events: list[tuple[object, ...]] = []
    found = list(spread(work, range(6), workers=workers, on_event=lambda *event: events.append(event)))
    # The last may still be on their way when all is done.
    assert events
    assert set(events) <= {(item, "begun") for item in range(6)}
    squares = sorted(done.value()[0] for done in found if done.error is None)
    assert squares == [0, 1, 9, 16, 25]
    (failed,) = [done for done in found if done.error is not None]
    assert failed.item == 2
    with pytest.raises(MediaError, match="2: no video"):
        failed.value()
    processes = {done.value()[1] for done in found if done.error is None}
    assert len(processes) == workers
    assert (os.getpid() in processes) == (workers == 1)
    assert dict(os.environ) == environ


def test_one_item_needs_no_other_process() -> None:
    (done,) = spread(lambda item, _: (item, os.getpid()), ["a"], workers=4)
    assert done.value() == ("a", os.getpid())


def test_what_kills_its_workers_fails_alone_and_nothing_is_done_twice(tmp_path: Path) -> None:
    def work(item: str, _: Tell, *, log: Path) -> str:
        with log.open("a") as file:
            file.write(f"{item}\n")
        if item == "killer":
            time.sleep(0.5)  # others have ended by then
            os._exit(1)
        return item

    items = ["a", "b", "killer", "c", "d", "e"]
    found = {done.item: done for done in spread(partial(work, log=tmp_path / "log"), items, workers=2)}
    assert isinstance(found["killer"].error, WorkerDiedError)
    assert [found[item].value() for item in items if item != "killer"] == ["a", "b", "c", "d", "e"]
    tries = (tmp_path / "log").read_text().split()
    assert {item: tries.count(item) for item in set(tries)} == {**dict.fromkeys("abcde", 1), "killer": 4}
