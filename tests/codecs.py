"""How a store's features are best compressed, on its own videos: `python -m tests.codecs STORE [VIDEOS]`.

Sizes are exact; speeds are of this machine at this moment and are to be compared with one another.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from extract.store.feature_store import CLIPS_PER_CHUNK, FeatureStore

ROUNDS = 10
Codecs = tuple[BytesBytesCodec, ...]


def choices() -> Iterator[tuple[str, Codecs]]:
    """What is compared; each ends with the checksum that the store has."""
    crc = Crc32cCodec()
    yield "none", (crc,)
    for level in (1, 3, 9):
        yield f"zstd {level}", (ZstdCodec(level=level), crc)
    for name in ("lz4", "zstd"):
        for shuffle in ("noshuffle", "shuffle", "bitshuffle"):
            for level in (1, 3, 5, 9) if (name, shuffle) == ("zstd", "shuffle") else (3,):
                yield f"blosc {name} {level} {shuffle}", (BloscCodec(cname=name, clevel=level, shuffle=shuffle), crc)


def measure(features: list[np.ndarray], codecs: Codecs) -> tuple[float, float, float]:
    """Stored share of the bytes, and MB of features a second written and read, the best of some rounds."""
    total = sum(item.nbytes for item in features)
    writes, reads, stored = [], [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            group = zarr.open_group(folder, mode="w", zarr_format=3)
            begun = time.perf_counter()
            for number, item in enumerate(features):
                chunks = (min(len(item), CLIPS_PER_CHUNK), *item.shape[1:])
                array = group.create_array(
                    str(number), shape=item.shape, dtype=item.dtype, chunks=chunks, compressors=list(codecs)
                )
                array[:] = item
            writes.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            for number, item in enumerate(features):
                assert np.array_equal(np.asarray(group[str(number)]), item)
            reads.append(time.perf_counter() - begun)
            stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return stored / total, total / min(writes) / 1e6, total / min(reads) / 1e6


def main() -> None:
    store = FeatureStore.open(sys.argv[1])
    videos = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    features = [store.read(key).i3d for key in islice(store.keys(), videos)]
    zeros = float(np.mean([(item == 0).mean() for item in features]))
    size = sum(item.nbytes for item in features) / 1e6
    print(f"{len(features)} videos, {size:.0f} MB of float16, {100 * zeros:.0f} % zeros\n")
    print("| codec | stored share | write MB/s | read MB/s |\n|---|---|---|---|")
    for name, codecs in choices():
        share, write, read = measure(features, codecs)
        print(f"| {name} | {share:.3f} | {write:.0f} | {read:.0f} |")


if __name__ == "__main__":
    main()
