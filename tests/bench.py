"""Speed and memory of extraction: `make bench`, or `make bench ARGS=2` with a video of two hours.

Times are of this machine at this moment; the ratios in one run are what can be compared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from extract.clips import batched, iter_clips
from extract.i3d.backbone import load_backbone
from extract.store.feature_store import FeatureStore
from extract.video.reader import open_video
from tests.cluster import cluster
from tests.media import moving_square, write_video

SECONDS = 10
"""Of the short video of 1080p, of 25 frames a second."""
RATE = 2
"""Frames a second of the long one: memory is a matter of frames, and 14,400 are enough to see it grow."""


def main(hours: float = 0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one_process(Path(folder))
        workers(Path(folder))
        if hours:
            length(Path(folder), hours)


def one_process(root: Path) -> None:
    """Decoding, the backbone and the whole command."""
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

    store = root / "s.zarr"
    peaks = []
    for video in (short, long):
        begun = time.perf_counter()
        peaks.append(extract(video, store)[0])
        spent = time.perf_counter() - begun
    begun = time.perf_counter()
    features = FeatureStore.open(store).read("long.mp4").i3d
    read_s = time.perf_counter() - begun
    clips = len(features)
    print(f"the whole command       {clips / spent:8.2f} clips/s, {clips / spent / bare:.2f} of the backbone alone")
    print(f"peak memory             {peaks[0]:.0f} MiB for 60 frames, {peaks[1]:.0f} MiB for 600: ", end="")
    print(f"{peaks[1] / peaks[0]:.2f}")
    size = sum(path.stat().st_size for path in (store / "videos/long.mp4").rglob("*") if path.is_file())
    print(f"read from the store     {features.nbytes / read_s / 2**20:8.1f} MiB/s")
    print(f"stored at               {size / features.nbytes:8.2f} of float16 ({np.mean(features == 0):.2f} are zeros)")


def workers(root: Path) -> None:
    """A scheduler with one worker of one thread, and with two."""
    for number in range(8):
        write_video(root / "v" / f"{number}.mp4", moving_square(160, seed=number))
        if number < 2:
            write_video(root / "warm" / f"{number}.mp4", moving_square(16, seed=number))
    spent = []
    for count in (1, 2):
        folder = root / f"cluster{count}"
        folder.mkdir()
        with cluster(folder, count) as (address, _):
            # Each worker loads the weights, as it does for its first video alone.
            extract(root / "warm", folder / "warm.zarr", "--scheduler", address)
            begun = time.perf_counter()
            extract(root / "v", folder / "s.zarr", "--scheduler", address)
            spent.append(time.perf_counter() - begun)
            # Given again, it has nothing to do: what a command takes to start is not the workers'.
            begun = time.perf_counter()
            extract(root / "v", folder / "s.zarr", "--scheduler", address)
            spent[-1] -= time.perf_counter() - begun
    print(f"dask workers            {spent[0]:.1f} s with one, {spent[1]:.1f} s with two: {spent[0] / spent[1]:.2f}")


def length(root: Path, hours: float) -> None:
    """A video of 1080p of some seconds, and one of some hours that repeats a piece of it."""
    frames = moving_square(25 * SECONDS, width=1920, height=1080)
    short = write_video(root / "1080p.mp4", frames, rate=Fraction(25))
    piece = write_video(root / "piece.mp4", frames[: RATE * SECONDS], rate=Fraction(RATE))
    long = repeated(piece, root / "hours.mp4", round(hours * 3600 / SECONDS))
    peaks = [extract(video, root / "length.zarr") for video in (short, long)]
    for name, (one, other) in zip(("extraction ", "its decoder "), zip(*peaks, strict=True), strict=True):
        print(
            f"peak memory, {name:12}{one:.0f} MiB for {SECONDS} s, {other:.0f} MiB for {hours:g} h: {other / one:.2f}"
        )
    record = FeatureStore.open(root / "length.zarr").record("hours.mp4")
    assert record is not None
    print(f"                        {record.frame_count} frames of {record.width}x{record.height}")


def extract(videos: Path, store: Path, *options: str) -> list[float]:
    """Run `features`, and return its peak memory and that of its decoder, in MiB."""
    command = [sys.executable, "-m", "cli", "features", str(videos), "--store", str(store), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks = [0.0, 0.0]
    while process.poll() is None:
        # Not getrusage's: a process inherits that of the one that started it.
        peaks[0] = max(peaks[0], peak(process.pid))
        peaks[1] = max([peaks[1], *map(peak, decoders(process.pid))])
        time.sleep(0.05)
    assert process.returncode == 0, command
    return peaks


def peak(pid: int) -> float:
    """Most memory that a process has held, in MiB; 0 if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def decoders(pid: int) -> list[int]:
    """Decoders that a process has started; between fork and exec a child still has its parent's memory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"extract.video.worker" in path.with_name("cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found


def repeated(source: Path, path: Path, times: int) -> Path:
    """The same stream many times over, without encoding it again."""
    with av.open(str(source)) as video, av.open(str(path), "w") as out:
        inner = video.streams.video[0]
        stream = out.add_stream_from_template(inner)
        assert inner.time_base is not None
        packets = [packet for packet in video.demux(inner) if packet.pts is not None and packet.dts is not None]
        kept = [(bytes(packet), packet.pts or 0, packet.dts or 0, packet.is_keyframe) for packet in packets]
        turn = round(SECONDS / inner.time_base)
        for number in range(times):
            for data, pts, dts, is_key in kept:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = stream, inner.time_base, is_key
                packet.pts, packet.dts = pts + number * turn, dts + number * turn
                out.mux(packet)
    return path


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:]))
