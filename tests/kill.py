"""`kill -9` at random moments of one extraction, and is the store the same? `python -m tests.kill [KILLS]`."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from extract.store.audit import faults
from extract.store.feature_store import FeatureStore
from tests.media import moving_square, write_video


def main(kills: int = 20, seed: int = 0) -> int:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(8):
            write_video(root / "v" / f"{number}.mp4", moving_square(160 + 8 * number, seed=number))
        command = [
            sys.executable,
            "-m",
            "cli",
            "features",
            str(root / "v"),
            "--set",
            "extract.batch_clips=2",
            "--store",
        ]
        begun = time.monotonic()
        subprocess.run([*command, str(root / "whole.zarr")], check=True, capture_output=True)
        whole_s = time.monotonic() - begun
        killed = 0
        while killed < kills:
            process = subprocess.Popen(
                [*command, str(root / "parts.zarr")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                process.wait(timeout=rng.uniform(0.3, 1.0) * whole_s / 2)
                print(f"done after {killed} kills: begun anew")
                store = FeatureStore.open(root / "parts.zarr", writable=True)
                for number in rng.sample(range(8), 6):
                    store.remove(f"{number}.mp4")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
            place = root / "parts.zarr"
            whole = len(list(FeatureStore.open(place).keys())) if place.is_dir() else 0
            print(f"kill {killed}: {whole} videos whole", flush=True)
        subprocess.run([*command, str(root / "parts.zarr")], check=True, capture_output=True)
        one, two = (FeatureStore.open(root / f"{name}.zarr") for name in ("whole", "parts"))
        keys = sorted(one.keys())
        assert keys == sorted(two.keys())
        same = all(
            np.array_equal(getattr(one.read(key), name), getattr(two.read(key), name))
            for key in keys
            for name in ("i3d", "clip_frames", "frame_times")
        )
        found = faults(two)
        print(f"{killed} kills, {len(keys)} videos; equal array by array: {same}; faults: {len(found)}")
        return 0 if same and not found else 1


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
