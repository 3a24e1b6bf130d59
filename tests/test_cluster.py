"""Extraction on a dask cluster whose scheduler and workers are processes of their own; stores behind URLs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from extract.store.audit import faults
from extract.store.feature_store import FeatureStore
from tests.cluster import cluster, wait
from tests.media import moving_square, write_video

pytestmark = pytest.mark.slow

Cluster = tuple[str, list[subprocess.Popen[bytes]]]


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, 2) as started:
        yield started


def test_a_worker_that_dies_has_its_videos_redone(two_workers: Cluster, tmp_path: Path) -> None:
    address, workers = two_workers
    for number in range(6):
        write_video(tmp_path / "v" / f"{number}.mp4", moving_square(24 + 4 * number, seed=number))
    place = tmp_path / "s.zarr"
    command = [sys.executable, "-m", "cli", "features", str(tmp_path / "v"), "--store", str(place)]
    process = subprocess.Popen(
        [*command, "--scheduler", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def is_under_way() -> bool:
        assert process.poll() is None, process.communicate()
        is_made = (place / "failures" / "zarr.json").is_file()  # the last of an empty store
        return is_made and len(list(FeatureStore.open(place).keys())) >= 1

    wait(is_under_way)
    workers[0].send_signal(signal.SIGKILL)
    out, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert "6 videos done" in out
    store = FeatureStore.open(place)
    keys = sorted(store.keys())
    assert keys == [f"{number}.mp4" for number in range(6)]
    # Nothing of the dead worker's is left, and each video is what one process makes of it.
    assert faults(store) == []
    alone = tmp_path / "alone.zarr"
    subprocess.run([*command[:-1], str(alone)], check=True, capture_output=True)
    for key in keys:
        one, two = FeatureStore.open(alone).read(key), store.read(key)
        assert np.allclose(one.i3d, two.i3d, atol=2e-3, rtol=2e-3)
        assert np.array_equal(one.frame_times, two.frame_times)


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_square(9))
    done = subprocess.run(
        [sys.executable, "-m", "cli", "features", str(tmp_path / "a.mp4"), "--store", str(tmp_path / "s.zarr"),
         "--scheduler", "tcp://127.0.0.1:1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no dask scheduler answers" in done.stderr
    assert "Traceback" not in done.stderr
