"""Ways to damage files and folders, for tests of what reads them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Harm:
    """One way to damage one file or folder."""

    path: Path
    """Relative to the folder that holds all files of a test."""
    name: str
    """What is done."""
    content: Callable[[bytes], bytes] | None = None
    """The damaged content; None deletes the file or folder."""

    def __str__(self) -> str:
        return f"{self.path.as_posix()}: {self.name}"

    def apply(self, root: Path) -> None:
        """Damage a copy of the files."""
        path = root / self.path
        if self.content is not None:
            path.write_bytes(self.content(path.read_bytes()))
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def flipped(bit: int) -> Callable[[bytes], bytes]:
    """Flip one bit of a file."""

    def flip(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)

    return flip


def harms_of_file(root: Path, path: Path, *, flips: int | None, seed: int = 0) -> Iterator[Harm]:
    """Flip bits of a file, truncate it, delete it.

    Args:
        root: the folder that holds all files.
        path: the file, relative to it.
        flips: bits to flip, one a time, at positions that the seed chooses; None flips each bit.
        seed: for the positions.
    """
    size = (root / path).stat().st_size
    bits = range(8 * size)
    # A file's own positions, whatever other files there are.
    chosen = bits if flips is None else random.Random(f"{seed} {path.name} {size}").sample(bits, min(flips, len(bits)))
    for bit in chosen:
        yield Harm(path=path, name=f"bit {bit} flipped", content=flipped(bit))
    for kept in sorted({0, size // 2, size - 1}):
        yield Harm(path=path, name=f"cut to {kept} of {size} bytes", content=itemgetter(slice(kept)))
    yield Harm(path=path, name="deleted")


def harms_of_folder(path: Path) -> Iterator[Harm]:
    """Delete a folder."""
    yield Harm(path=path, name="deleted with all that it holds")
