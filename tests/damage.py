"""Damage files and folders, for tests of the code that reads them."""

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
    """Path relative to the folder that contains all files of a test."""
    name: str
    """Description of the damage."""
    content: Callable[[bytes], bytes] | None = None
    """Function from the content to the damaged content; None deletes the file or folder."""

    def __str__(self) -> str:
        return f"{self.path.as_posix()}: {self.name}"

    def apply(self, root: Path) -> None:
        """Damage the file or folder.

        Args:
            root: a copy of the folder that contains all files of a test.
        """
        path = root / self.path
        if self.content is not None:
            path.write_bytes(self.content(path.read_bytes()))
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def flipped(bit: int) -> Callable[[bytes], bytes]:
    """Return a function that flips bit number `bit`; bit 0 is the least significant bit of the first byte."""

    def flip(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)

    return flip


def harms_of_file(root: Path, path: Path, *, flips: int | None, seed: int = 0) -> Iterator[Harm]:
    """Yield ways to damage one file: flip single bits, truncate it, and delete it.

    Args:
        root: the folder that contains all files.
        path: the file, relative to `root`.
        flips: number of random bits to flip, one in each copy; None flips each bit of the file.
        seed: seed for the positions of the bits.
    """
    size = (root / path).stat().st_size
    bits = range(8 * size)
    # The positions depend only on the file itself, not on the other files.
    chosen = bits if flips is None else random.Random(f"{seed} {path.name} {size}").sample(bits, min(flips, len(bits)))
    for bit in chosen:
        yield Harm(path=path, name=f"bit {bit} flipped", content=flipped(bit))
    for kept in sorted({0, size // 2, size - 1}):
        yield Harm(path=path, name=f"cut to {kept} of {size} bytes", content=itemgetter(slice(kept)))
    yield Harm(path=path, name="deleted")


def harms_of_folder(path: Path) -> Iterator[Harm]:
    """Yield ways to damage a folder: delete it."""
    yield Harm(path=path, name="deleted with all that it holds")
