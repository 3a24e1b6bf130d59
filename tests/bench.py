"""Speed and memory of extraction: `make bench`.

Times are of this machine at this moment; the ratios in one run are what can be compared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from extract.clips import batched, iter_clips
from extract.i3d import load_backbone
from extract.store import FeatureStore
from extract.video import open_video
from tests.media import moving_square, write_video

CHILD = """
import resource, sys
from cli import main
main(["features", sys.argv[1], "--store", sys.argv[2]], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        short = write_video(root / "short.mp4", moving_square(60, width=320, height=240))
        long = write_video(root / "long.mp4", moving_square(600, width=320, height=240))
        begun = time.perf_counter()
        with open_video(long, timeout_s=60, size=224) as stream:
            frames = list(stream.frames)
        decode_s = time.perf_counter() - begun
        print(f"decode and stretch      {len(frames) / decode_s:8.1f} frames/s")

        backbone = load_backbone("inception", weights=None, device="cpu")
        batches = list(batched(iter_clips(frames[:132], length=8, stride=4), 4))
        backbone(batches[0])
        begun = time.perf_counter()
        for batch in batches:
            backbone(batch)
        bare = sum(map(len, batches)) / (time.perf_counter() - begun)
        print(f"backbone alone          {bare:8.2f} clips/s")

        peaks = []
        for video in (short, long):
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(video), str(root / "s.zarr")],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            peaks.append(int(done.stdout.split()[-1]))
            spent = time.perf_counter() - begun
        clips = len(FeatureStore.open(root / "s.zarr").read("long.mp4").i3d)
        print(f"the whole command       {clips / spent:8.2f} clips/s, {clips / spent / bare:.2f} of the backbone alone")
        print(
            f"peak memory             {peaks[0]} MiB for 60 frames, {peaks[1]} MiB for 600: {peaks[1] / peaks[0]:.2f}"
        )

        begun = time.perf_counter()
        features = FeatureStore.open(root / "s.zarr").read("long.mp4").i3d
        read_s = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in (root / "s.zarr/videos/long.mp4").rglob("*") if path.is_file())
        print(f"read from the store     {features.nbytes / read_s / 2**20:8.1f} MiB/s")
        print(
            f"stored at               {size / features.nbytes:8.2f} of float16 ({np.mean(features == 0):.2f} are zeros)"
        )


if __name__ == "__main__":
    main()
