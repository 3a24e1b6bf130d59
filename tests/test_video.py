import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import extract.video.worker
from extract.errors import DecodeTimeoutError, MediaError, MissingInputError
from extract.records import VideoInfo
from extract.video.reader import VideoStream, open_video, probe, source_digest
from extract.video.resize import stretch
from tests.media import lossless, moving_square, side_by_side, write_video


def test_frames_are_the_source_s(tmp_path: Path) -> None:
    frames = moving_square(40)
    with open_video(lossless(tmp_path / "a.mkv", frames), timeout_s=30) as stream:
        decoded = list(stream.frames)
    assert np.array_equal(decoded, frames)
    assert (stream.info.width, stream.info.height, stream.info.frame_count) == (64, 48, 40)
    assert stream.info.fps == pytest.approx(10)
    assert stream.info.duration_s == pytest.approx(4.0, abs=0.11)


def test_frames_are_stretched_in_the_child(tmp_path: Path) -> None:
    frames = moving_square(9)
    with open_video(lossless(tmp_path / "a.mkv", frames), timeout_s=30, size=32) as stream:
        decoded = list(stream.frames)
    assert np.array_equal(decoded, [stretch(frame, 32) for frame in frames])


def test_many_batches(tmp_path: Path) -> None:
    frames = moving_square(500, width=160, height=120)
    assert sum(frame.nbytes for frame in frames) > 3 * extract.video.worker.BATCH_BYTES
    path = write_video(tmp_path / "a.mp4", frames)
    with open_video(path, timeout_s=30) as stream:
        assert sum(1 for _ in stream.frames) == 500


def test_what_is_no_video(tmp_path: Path) -> None:
    text, empty, folder = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "folder.mp4"
    text.write_text("not a video")
    empty.touch()
    folder.mkdir()
    with pytest.raises(MediaError, match=r"text\.mp4: not a video"):
        probe(text, timeout_s=30)
    with pytest.raises(MediaError, match="is empty"):
        probe(empty, timeout_s=30)
    for missing in (folder, tmp_path / "absent.mp4"):
        with pytest.raises(MissingInputError, match="no such file"):
            probe(missing, timeout_s=30)


def read(path: Path) -> tuple[list[np.ndarray], VideoStream]:
    with open_video(path, timeout_s=30) as stream:
        return list(stream.frames), stream


def by_av(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_file_cut_short_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    for name, options in (
        ("a.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
        ("a.mpg", {"codec": "mpeg1video", "rate": 25}),
    ):
        frames = moving_square(200)
        whole = write_video(tmp_path / name, frames, **options)
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        found, stream = read(cut)
        assert 60 < len(found) < 140
        assert all(np.array_equal(a, b) for a, b in zip(found[:-1], by_av(whole), strict=False))
        assert len(stream.times) == len(found) + 1
        if name == "a.mkv":
            assert stream.fault is not None
        assert read(whole)[1].fault is None


def test_an_index_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    movie = write_video(tmp_path / "whole.mp4", moving_square(200))
    movie.write_bytes(movie.read_bytes()[: movie.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"whole\.mp4: not a video"):
        read(movie)


CODECS = {
    "h264.mp4": ("libx264", "yuv420p", {}),
    "h264-open-gop.mp4": ("libx264", "yuv420p", {"x264-params": "bframes=3:open-gop=1:keyint=12"}),
    "h264-10-bit.mkv": ("libx264", "yuv420p10le", {}),
    "hevc.mp4": ("libx265", "yuv420p", {"x265-params": "log-level=none"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {}),
    "prores.mov": ("prores_ks", "yuv422p10le", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "transport.ts": ("libx264", "yuv420p", {}),
    "transport.mp4": ("libx264", "yuv420p", {}),
    "blu-ray.m2ts": ("libx264", "yuv420p", {}),
}


@pytest.mark.parametrize("name", CODECS)
def test_frames_are_those_of_pyav(tmp_path: Path, name: str) -> None:
    codec, pixels, options = CODECS[name]
    path = tmp_path / name
    form = "mpegts" if name == "transport.mp4" else None
    write_video(path, moving_square(40), codec=codec, pixels=pixels, options=options, form=form, rate=Fraction(25))
    found, stream = read(path)
    expected = by_av(path)
    assert len(found) == len(expected) == 40
    # The two convert colours with other roundings; each frame is nearest to its own all the same.
    apart = [[np.abs(a.astype(int) - b).mean() for b in expected] for a in found]
    assert np.argmin(apart, axis=1).tolist() == list(range(40))
    assert np.diag(apart).max() < 3
    assert np.diff(stream.times) == pytest.approx(np.full(40, 0.04), abs=2e-3)
    assert stream.times[0] == pytest.approx(0, abs=0.1)


def test_a_hidden_head_stays_hidden(tmp_path: Path) -> None:
    """Decord would repeat a frame in place of each that is hidden."""
    whole = write_video(tmp_path / "whole.mp4", moving_square(60), options={"x264-params": "keyint=60:bframes=0"})
    cut = hide_head(whole, tmp_path / "cut.mp4", hidden_s=2)
    found, stream = read(cut)
    assert len(found) == len(by_av(cut)) < 60
    assert np.abs(found[0].astype(int) - by_av(cut)[0]).mean() < 3
    assert stream.info.decoder.startswith("PyAV")


def hide_head(whole: Path, cut: Path, *, hidden_s: int) -> Path:
    """A copy without its first seconds, which an edit list hides: they are needed to decode the rest."""
    with av.open(str(whole)) as source, av.open(str(cut), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                assert packet.pts is not None
                assert packet.time_base is not None
                shift = round(hidden_s / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                out.mux(packet)
    return cut


def test_what_decord_might_hold_whole_is_left_to_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_video(tmp_path / "a.mp4", moving_square(20)))
    assert extract.video.worker.open_source(path).info.decoder.startswith("decord")
    monkeypatch.setattr(extract.video.worker, "MOST_DECODED_BYTES", 19 * 64 * 48 * 3)
    monkeypatch.setattr(extract.video.worker, "open_decord", None)  # opened, it would run ahead already
    assert extract.video.worker.open_source(path).info.decoder.startswith("PyAV")


def test_frames_of_an_avi_come_one_after_the_other(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", moving_square(40), rate=Fraction(25), options={"bf": "3"})
    with open_video(path, timeout_s=60) as stream:
        assert len(list(stream.frames)) == 40
    assert np.allclose(stream.frame_times, np.arange(41) / 25)


def test_a_title_that_is_not_utf_8(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", moving_square(20), options={"bf": "3"}, title="Cafe")
    content = path.read_bytes()
    assert b"Cafe" in content
    path.write_bytes(content.replace(b"Cafe", "Café".encode("latin-1")))
    with open_video(path, timeout_s=60) as stream:
        assert len(list(stream.frames)) == 20


def test_a_last_picture_that_stays_is_no_fault(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", moving_square(40), rate=Fraction(10), options={"bf": "0"})
    path = tmp_path / "b.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        stream = out.add_stream_from_template(source.streams.video[0])
        packets[-1].duration = 50 * (packets[-1].duration or 0)
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
    for source_of in (extract.video.worker.open_source, extract.video.worker.open_av):
        opened = source_of(str(path))
        ends_s = [end_s for _, end_s, _ in opened.frames]
        assert ends_s[-1] == pytest.approx(8.9, abs=0.11)
        assert not extract.video.worker.is_short(ends_s[-1], opened.announced_s)


def test_a_mirrored_picture_is_mirrored_back() -> None:
    pixels = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    assert np.array_equal(extract.video.worker._upright(pixels, (-1, 0, 0, 1)), pixels[:, ::-1])
    assert np.array_equal(extract.video.worker._upright(pixels, (1, 0, 0, -1)), pixels[::-1])
    assert np.array_equal(extract.video.worker._upright(pixels, (0, 1, 1, 0)), pixels.swapaxes(0, 1))


def test_of_two_streams_one_is_read(tmp_path: Path) -> None:
    path = side_by_side(tmp_path / "a.mkv", moving_square(20, width=32, height=32), moving_square(20))
    with open_video(path, timeout_s=60) as stream:
        frames = list(stream.frames)
    assert len(frames) == 20
    assert frames[0].shape == (stream.info.height, stream.info.width, 3)


def test_a_recording_that_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "live.webm", moving_square(20), codec="libvpx-vp9", container={"live": "1"})
    with open_video(path, timeout_s=60) as stream:
        assert len(list(stream.frames)) == 20
    assert stream.fault is None
    assert stream.true_info.frame_count == 20


def test_the_clock_of_joined_files_goes_on(tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.ts", moving_square(30), rate=Fraction(25))
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * one.read_bytes())
    with open_video(path, timeout_s=60) as stream:
        assert len(list(stream.frames)) == 60
    assert np.allclose(stream.frame_times, np.arange(61) / 25)


def test_a_stream_that_changes_its_size_keeps_the_first(tmp_path: Path) -> None:
    parts = [write_video(tmp_path / f"{n}.ts", moving_square(30, width=w, height=h), rate=Fraction(25))
             for n, (w, h) in enumerate([(64, 48), (96, 64)])]  # fmt: skip
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    found, stream = read(both)
    assert {frame.shape for frame in found} == {(48, 64, 3)}
    assert len(found) == 60
    assert (np.diff(stream.times) > 0).all() or stream.fault is None


@pytest.mark.parametrize("size", [(64, 48), (320, 240), (66, 50)])
def test_rotation_is_applied(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    whole = write_video(tmp_path / "phone.mp4", moving_square(10, width=width, height=height), rate=Fraction(25))
    found, stream = read(rotated(whole, tmp_path / "turned.mp4"))
    assert (stream.info.width, stream.info.height) == (height, width)
    upright = by_av(whole)
    # The matrix turns by 90 degrees clockwise.
    assert max(np.abs(np.rot90(b, -1).astype(int) - a).mean() for a, b in zip(found, upright, strict=True)) < 2


def rotated(path: Path, out: Path) -> Path:
    """The same file with a display matrix that turns it by 90 degrees."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 2 + 2 + 2 + 2
    turn = [0, 0x10000, 0, -0x10000 & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in turn)
    out.write_bytes(content)
    return out


def test_a_silent_decoder_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(500, width=160, height=120))
    children = []
    popen = subprocess.Popen

    def remember(*args: Any, **kwargs: Any) -> "subprocess.Popen[bytes]":
        children.append(popen(*args, **kwargs))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    with open_video(path, timeout_s=5) as stream:
        next(stream.frames)
        os.kill(children[0].pid, signal.SIGSTOP)
        with pytest.raises(DecodeTimeoutError, match="gave nothing for 5 s"):
            list(stream.frames)
    assert children[0].returncode == -signal.SIGKILL


def test_a_reader_that_slept_takes_what_lies_ready(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(200, width=320, height=240))
    code = f"""
from pathlib import Path
from extract.video.reader import open_video
with open_video(Path({str(path)!r}), timeout_s=3) as stream:
    assert len(list(stream.frames)) == 200
"""
    reader = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    children = Path(f"/proc/{reader.pid}/task/{reader.pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    reader.send_signal(signal.SIGSTOP)
    time.sleep(4)
    reader.send_signal(signal.SIGCONT)
    assert reader.communicate()[1] == b""
    assert reader.returncode == 0


def test_slow_frames_are_not_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> Iterator[extract.video.worker.Frame]:
        for number in range(3):
            time.sleep(0.1)
            yield float(number), number + 1.0, np.zeros((4, 4, 3), np.uint8)

    info = VideoInfo(width=4, height=4, fps=1.0, frame_count=3, duration_s=3.0, decoder="slow")
    source = extract.video.worker.Source(info=info, frames=slow(), end_s=None, announced_s=None)
    monkeypatch.setattr(extract.video.worker, "open_source", lambda _: source)
    monkeypatch.setattr(extract.video.worker, "MOST_S", 0.05)
    ours, theirs = Pipe()
    extract.video.worker.serve(theirs, "slow.mp4", 0)
    assert ours.recv()["frame_count"] == 3
    for number in range(3):
        assert ours.recv() == [float(number)]
        ours.recv_bytes()
    assert ours.recv() == {"end_s": 3.0, "fault": None}


def test_digest_tells_content_not_place(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"x" * 3_000_000)
    b.write_bytes(a.read_bytes())
    c.write_bytes(b"x" * 2_999_999 + b"y")
    assert source_digest(a) == source_digest(b) != source_digest(c)
