"""What is encoded, byte by byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.media.video_writer import open_mp4
from tests.media import moving_square, write_video

ENCODE = """
import sys
from fractions import Fraction
from pathlib import Path
from pipeline.media.video_writer import open_mp4
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


def joined(folder: Path) -> Path:
    one = write_video(folder / "one.ts", moving_square(20), sound="aac").read_bytes()
    (folder / "two.ts").write_bytes(one + one)
    return folder / "two.ts"


def damaged(folder: Path) -> Path:
    path = write_video(folder / "a.mkv", moving_square(20), sound="alac")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "codec"),
    [
        (joined, "aac"),
        (damaged, "aac"),
        (lambda folder: write_video(folder / "a.mkv", moving_square(20), sound="libmp3lame"), "mp3"),
    ],
)
def test_sound_is_taken_as_far_as_it_goes(tmp_path: Path, make: Callable[[Path], Path], codec: str) -> None:
    frames = moving_square(40)
    with open_mp4(tmp_path / "o.mp4", width=64, height=48, rate=Fraction(10), sound=make(tmp_path)) as writer:
        for frame in frames:
            writer.write(frame)
    with av.open(str(tmp_path / "o.mp4")) as found:
        (sound,) = found.streams.audio
        assert sound.codec_context.codec.canonical_name == codec
        assert sound.duration is not None
        assert sound.time_base is not None
        assert 0.5 < float(sound.duration * sound.time_base) < 2.5
        assert sum(1 for _ in found.decode(video=0)) == len(frames)
