import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extract.video
from extract.errors import DecodeTimeoutError, MediaError, MissingInputError
from extract.transforms import stretch
from extract.video import open_video, probe, source_digest
from tests.media import lossless, moving_square, write_video


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


def test_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = moving_square(500, width=160, height=120)
    assert sum(frame.nbytes for frame in frames) > 3 * extract.video.BATCH_BYTES
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


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", moving_square(200), codec="ffv1", pixels="bgr0")
    cut = tmp_path / "cut.mp4"
    movie = write_video(tmp_path / "whole.mp4", moving_square(200))
    cut.write_bytes(movie.read_bytes()[: movie.stat().st_size // 2])
    assert whole.exists()
    with pytest.raises(MediaError, match=r"cut\.mp4"), open_video(cut, timeout_s=30) as stream:
        list(stream.frames)


def test_containers_that_decord_misreads_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", moving_square(30))
    with pytest.raises(MediaError, match="MPEG transport stream.*ffmpeg"):
        probe(path, timeout_s=30)


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


def test_digest_tells_content_not_place(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"x" * 3_000_000)
    b.write_bytes(a.read_bytes())
    c.write_bytes(b"x" * 2_999_999 + b"y")
    assert source_digest(a) == source_digest(b) != source_digest(c)
