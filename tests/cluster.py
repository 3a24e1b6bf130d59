"""A dask cluster whose scheduler and workers are processes of their own, started by the commands of docs/cluster.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

DASK = (sys.executable, "-m", "dask")


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Yield the scheduler's address and the workers, of one thread each, whose logs lie in the folder."""
    file = folder / "scheduler.json"
    common = ("--scheduler-file", str(file), "--no-dashboard")
    with ExitStack() as stack:
        stack.enter_context(_running(*DASK, "scheduler", "--port", "0", *common, log=folder / "scheduler.log"))
        started = [
            stack.enter_context(
                _running(*DASK, "worker", "--nthreads", "1", "--no-nanny", *common, log=folder / f"worker{number}.log")
            )
            for number in range(workers)
        ]
        wait(lambda: _address(file) is not None)
        yield str(_address(file)), started


def _address(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text())["address"])
    except (FileNotFoundError, ValueError):  # not there, or not whole yet
        return None


def wait(condition: Callable[[], bool]) -> None:
    """Until it holds, for two minutes at most."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def _running(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
