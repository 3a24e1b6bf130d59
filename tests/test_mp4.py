"""What is encoded, byte by byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENCODE = """
import sys
from fractions import Fraction
from pathlib import Path
from pipeline.mp4 import open_mp4
from tests.media import moving_square

with open_mp4(Path(sys.argv[1]), width=320, height=240, rate=Fraction(10)) as writer:
    for frame in moving_square(60, width=320, height=240):
        writer.write(frame)
"""


def test_the_same_pictures_give_the_same_bytes_whatever_lay_in_memory(tmp_path: Path) -> None:
    files = []
    for filling in ("1", "200"):
        files.append(tmp_path / f"{filling}.mp4")
        subprocess.run(
            [sys.executable, "-c", ENCODE, files[-1]],
            env={**os.environ, "MALLOC_PERTURB_": filling},  # glibc's: new memory is filled with it
            cwd=Path(__file__).parents[1],
            check=True,
        )
    assert files[0].read_bytes() == files[1].read_bytes()
