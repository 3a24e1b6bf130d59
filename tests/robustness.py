"""Files as real collections hold them: each is made here, read, and what became of it is said in a line.

`python -m tests.robustness` prints the table of docs/robustness.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from extract.errors import GkcmnError
from extract.video.inputs import find_videos
from extract.video.reader import open_video, source_digest
from tests.media import moving_square, side_by_side, write_video

CASES: dict[str, Callable[[Path], object]] = {}
"""Makers, by what they make: a file, a folder, or the words that `features` is given."""
HEAD = """# Odd and broken files

What `features` makes of them. The table is printed by `python -m tests.robustness`, which makes each file, and a test
keeps it true. "Taken" means extracted; where fewer frames came than were announced, the video is taken with a warning
and its record says so, and `--strict` refuses it instead. "Refused" is a row in the store's list of failures
(`inspect`), exit code 1, and the other videos go on. "Not begun" is a mistake in what was named: one line, exit code 1,
and nothing is extracted. Everything is decoded in a process of its own, which is killed after `--decode-timeout`
seconds without a frame.

| input | outcome |
|---|---|
"""


def case(name: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def add(make: Callable[[Path], object]) -> Callable[[Path], object]:
        CASES[name] = make
        return make

    return add


def outcome(made: object) -> str:
    """What `features` makes of an input, in words that hold no path."""
    given = [str(made)] if isinstance(made, Path) else [str(word) for word in made]  # type: ignore[attr-defined]
    verdict = "not begun"
    try:
        videos = find_videos(given)
        verdict = "refused"
        said = []
        for video in videos:
            source_digest(video.path)  # what extraction does first
            with open_video(video.path, timeout_s=60) as stream:
                frames = sum(1 for _ in stream.frames)
            info = stream.true_info
            line = f"taken: {frames} frames of {info.width}x{info.height}"
            if stream.info.decoder.startswith("PyAV"):
                line += ", by PyAV"
            said.append(line + (f"; warned: {stream.fault}" if stream.fault else ""))
        return " / ".join(sorted(set(said))) + (f" ({len(videos)} videos)" if len(videos) > 1 else "")
    except GkcmnError as error:
        text = " ".join(str(error).split())
        return f"{verdict}: " + text.partition(": ")[2].replace(str(given[0]), "it")


def _movie(folder: Path, name: str = "a.mp4", count: int = 100, **options: object) -> Path:
    return write_video(folder / name, moving_square(count), rate=Fraction(25), **options)  # type: ignore[arg-type]


def _cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    make(path)
    return path


def _named(name: str) -> Callable[[Path], Path]:
    return lambda folder: _movie(folder, name, 10)


case("zero bytes")(lambda folder: _made(folder / "a.mp4", lambda path: path.touch()))
case("text named .mp4")(lambda folder: _made(folder / "a.mp4", lambda path: path.write_text("no video")))
case("a picture named .mp4")(
    lambda folder: _made(folder / "a.mp4", lambda path: Image.new("RGB", (64, 48)).save(path, "jpeg"))
)
case("a playlist (ffconcat) named .mp4")(
    lambda folder: _made(
        folder / "a.mp4",
        lambda path: path.write_text(f"ffconcat version 1.0\nfile {_movie(folder, 'b.mkv', 10).name}\n"),
    )
)
case("a folder named x.mp4, empty")(lambda folder: _made(folder / "x.mp4", lambda path: path.mkdir()))
case("no such file")(lambda folder: folder / "absent.mp4")


def _cut_mp4(share: float, flags: str) -> Callable[[Path], Path]:
    return lambda folder: _cut(_movie(folder, container={"movflags": flags}), share)


for _percent in (10, 50, 90):
    case(f"mp4 cut at {_percent} %, its index at the end")(_cut_mp4(_percent / 100, "+use_metadata_tags"))
for _percent in (10, 50, 90):
    case(f"mp4 cut at {_percent} %, its index in front")(_cut_mp4(_percent / 100, "faststart"))
case("mkv cut at 50 %")(lambda folder: _cut(_movie(folder, "a.mkv"), 0.5))
case("webm (VP9) cut at 50 %")(lambda folder: _cut(_movie(folder, "a.webm", codec="libvpx-vp9"), 0.5))
case("avi (MPEG-4) cut at 50 %")(lambda folder: _cut(_movie(folder, "a.avi", codec="mpeg4"), 0.5))
case("fragmented mp4 cut at 50 %")(
    lambda folder: _cut(_movie(folder, container={"movflags": "frag_keyframe+empty_moov"}), 0.5)
)


@case("mp4 with zeros in its middle")
def _(folder: Path) -> Path:
    path = _movie(folder)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    return path


@case("sound alone")
def _(folder: Path) -> Path:
    with av.open(str(folder / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return folder / "a.mp4"


case("one frame")(lambda folder: _movie(folder, count=1))
case("seven frames, less than a clip")(lambda folder: _movie(folder, count=7))
case("variable frame rate")(lambda folder: _movie(folder, count=20, times_s=[0.04 * n + n // 5 for n in range(20)]))
case("one frame a second")(lambda folder: write_video(folder / "a.mp4", moving_square(20), rate=Fraction(1)))
case("NTSC rate (30000/1001)")(
    lambda folder: write_video(folder / "a.mp4", moving_square(60), rate=Fraction(30000, 1001))
)
case("odd size (65x49, 4:4:4)")(
    lambda folder: write_video(folder / "a.mp4", moving_square(20, width=65, height=49), pixels="yuv444p")
)
case("4K")(lambda folder: write_video(folder / "a.mp4", moving_square(3, width=3840, height=2160)))
case("interlaced H.264")(lambda folder: _movie(folder, count=20, options={"x264-params": "interlaced=1"}))
case("10 bits")(lambda folder: _movie(folder, pixels="yuv420p10le"))
case("grey")(lambda folder: _movie(folder, pixels="gray"))
case("HEVC")(lambda folder: _movie(folder, codec="libx265", options={"x265-params": "log-level=none"}))
case("HEVC with closed groups of pictures")(
    lambda folder: _movie(
        folder, codec="libx265", count=40, options={"x265-params": "bframes=3:keyint=20:open-gop=0:log-level=none"}
    )
)
case("144 pixels wide")(
    lambda folder: write_video(folder / "a.mp4", moving_square(20, width=144, height=256), rate=Fraction(25))
)


@case("a recording that begins without a key picture")
def _(folder: Path) -> Path:
    options = {"x264-params": "keyint=10:min-keyint=10:bframes=0:scenecut=0"}
    whole = _movie(folder / "whole", "a.mkv", count=40, options=options)
    path = folder / "a.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux(video=0) if packet.dts is not None][13:]:
            packet.stream = stream
            out.mux(packet)
    return path


case("transport stream cut within a packet")(
    lambda folder: _made(
        folder / "b.ts", lambda path: path.write_bytes(b"x" * 100 + _movie(folder, "a.ts", 60).read_bytes())
    )
)
case("VP9 in webm")(lambda folder: _movie(folder, "a.webm", codec="libvpx-vp9"))
case("webm as a browser records it, without its length")(
    lambda folder: _movie(folder, "a.webm", codec="libvpx-vp9", container={"live": "1"})
)
case("AV1")(lambda folder: _movie(folder, codec="libsvtav1", count=20))
case("ProRes, 4:2:2")(lambda folder: _movie(folder, "a.mov", codec="prores_ks", pixels="yuv422p10le"))
case("MJPEG in avi")(lambda folder: _movie(folder, "a.avi", codec="mjpeg", pixels="yuvj420p"))
case("H.264 in avi, which gives frames no times")(lambda folder: _movie(folder, "a.avi", options={"bf": "3"}, count=20))
case("two video streams")(
    lambda folder: side_by_side(folder / "a.mkv", moving_square(20, width=32, height=32), moving_square(20))
)
case("animated GIF")(lambda folder: _movie(folder, "a.gif", codec="gif", pixels="rgb8", count=20))
case("MPEG transport stream")(lambda folder: _movie(folder, "a.ts"))
case("transport stream named .mp4")(lambda folder: _movie(folder, form="mpegts"))
case("m2ts")(lambda folder: _movie(folder, "a.m2ts"))
case("transport stream that changes its size")(
    lambda folder: _made(
        folder / "a.ts",
        lambda path: path.write_bytes(
            _movie(folder, "1.ts", 30).read_bytes()
            + write_video(folder / "2.ts", moving_square(30, width=96, height=64), rate=Fraction(25)).read_bytes()
        ),
    )
)
case("two transport streams joined")(
    lambda folder: _made(folder / "a.ts", lambda path: path.write_bytes(2 * _movie(folder, "1.ts", 30).read_bytes()))
)


@case("rotated by its metadata")
def _(folder: Path) -> Path:
    from tests.test_video import rotated

    return rotated(_movie(folder), folder / "turned.mp4")


@case("edit list that hides a head")
def _(folder: Path) -> Path:
    from tests.test_video import hide_head

    return hide_head(_movie(folder, options={"x264-params": "keyint=100:bframes=0"}), folder / "cut.mp4", hidden_s=1)


@case("more frames announced than there are")
def _(folder: Path) -> Path:
    """The sample table's last packets point behind the end of the file."""
    path = _movie(folder, container={"movflags": "faststart"})
    return _cut(path, 0.97)


case("name with spaces")(_named("a b  c.mp4"))
case("name in Unicode")(_named("vidéo 動画 🎬.mp4"))
case("name with a newline")(_named("a\nb.mp4"))
case("name with a leading dash")(_named("-a.mp4"))
case("name with colons, as a URL's")(_named("2024-01-01T12:30:45.mp4"))
case("name with a percent sign and a dot in front")(_named(".a%2Fb.mp4"))
case("two equal names in two folders")(
    lambda folder: (_movie(folder, "1/a.mp4", 10), _movie(folder, "2/a.mp4", 10), folder)[2]
)
case("two equal names, named one by one")(lambda folder: [_movie(folder, "1/a.mp4", 10), _movie(folder, "2/a.mp4", 10)])
case("folder with a symbolic link to itself")(
    lambda folder: _made(_movie(folder, "v/a.mp4", 10).parent, lambda path: (path / "loop").symlink_to(path))
)
case("symbolic link that leads nowhere")(
    lambda folder: _made(folder / "a.mp4", lambda path: path.symlink_to(folder / "gone"))
)
case("a folder named x.mp4 that holds a video")(lambda folder: (_movie(folder, "x.mp4/a.mp4", 10), folder / "x.mp4")[1])
case("a list of paths with a missing one")(
    lambda folder: _made(_movie(folder, "a.mp4", 10).with_name("l.txt"), lambda path: path.write_text("a.mp4\nb.mp4\n"))
)


@case("a pipe named .mp4")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def table() -> str:
    """All cases and their outcomes, as Markdown."""
    lines = []
    for name, make in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines.append(f"| {name} | {outcome(make(Path(folder)))} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table())
