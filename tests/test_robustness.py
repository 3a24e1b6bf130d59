"""docs/robustness.md is true: each file is made, read, and its outcome compared."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from extract.store.feature_store import FeatureStore
from tests.media import moving_square, write_video
from tests.robustness import CASES, HEAD, outcome

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[1] / "docs" / "robustness.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (.*?) \| (.*) \|$", PAGE, flags=re.MULTILINE))


def plain(text: str) -> str:
    """An outcome without the figures of a damaged file: how far decoders come differs by their threads."""
    return re.sub(r"\d+(\.\d+)?", "#", text) if "warned" in text else text


def test_the_page_has_every_case() -> None:
    assert PAGE.startswith(HEAD)
    assert len(CASES) >= 30
    assert set(CASES) == set(ROWS) - {"input", "---"}


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of(tmp_path: Path, name: str) -> None:
    assert plain(outcome(CASES[name](tmp_path))) == plain(ROWS[name])


RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Root may read and write everything, but for one that has lost these capabilities."""


def features(*args: object, under: Sequence[str] = (), **options: object) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, "-m", "cli", "features", *(str(arg) for arg in args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_a_full_disk_fails_the_video_and_leaves_the_store_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(40))

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # a write beyond fails as on a full disk

    done = features(path, "--store", tmp_path / "s.zarr", preexec_fn=little_room)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "free the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(FeatureStore.open(tmp_path / "s.zarr").keys()) == []
    assert features(path, "--store", tmp_path / "s.zarr").returncode == 0
    assert list(FeatureStore.open(tmp_path / "s.zarr").keys()) == ["a.mp4"]


def test_a_file_that_grows_is_extracted_again(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", moving_square(100), codec="ffv1", pixels="bgr0").read_bytes()
    path = tmp_path / "v" / "a.mkv"
    path.parent.mkdir()
    path.write_bytes(whole[: len(whole) // 2])
    first = features(path, "--store", tmp_path / "s.zarr")
    assert first.returncode == 0
    assert "took what came" in first.stderr
    before = FeatureStore.open(tmp_path / "s.zarr").record("a.mkv")
    assert before is not None
    assert before.fault is not None
    # It is there, but not for one who wants it whole.
    assert "1 there already" in features(path, "--store", tmp_path / "s.zarr").stdout
    assert features(path, "--store", tmp_path / "s.zarr", "--strict").returncode == 1
    path.write_bytes(whole)
    assert "1 videos done" in features(path, "--store", tmp_path / "s.zarr").stdout
    after = FeatureStore.open(tmp_path / "s.zarr").record("a.mkv")
    assert after is not None
    assert (after.frame_count, after.fault) == (100, None)
    path.write_bytes(whole[: len(whole) // 2])
    strict = features(path, "--store", tmp_path / "s.zarr", "--strict")
    assert strict.returncode == 1
    assert "leave out --strict" in strict.stderr
    # What was whole is still there.
    assert FeatureStore.open(tmp_path / "s.zarr").record("a.mkv") == after


@pytest.mark.skipif(bool(RIGHTS) and shutil.which("setpriv") is None, reason="root may read and write everything")
def test_rights_that_are_lacking(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(9))
    assert features(path, "--store", tmp_path / "s.zarr").returncode == 0
    other = write_video(tmp_path / "b.mp4", moving_square(9))
    for folder in (tmp_path / "s.zarr").rglob("*"):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    refused = features(other, "--store", tmp_path / "s.zarr", under=RIGHTS)
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr
    for folder in (tmp_path / "s.zarr").rglob("*"):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    other.chmod(0)
    unread = features(other, "--store", shutil.copytree(tmp_path / "s.zarr", tmp_path / "t.zarr"), under=RIGHTS)
    assert unread.returncode == 1
    assert "cannot be read" in unread.stderr
    (tmp_path / "closed").mkdir(mode=0)
    closed = features(tmp_path, "--store", tmp_path / "t.zarr", under=RIGHTS)
    assert closed.returncode == 1
    assert "closed: cannot be looked at (Permission denied)" in closed.stderr
    # One that is there already no more than a new one keeps others back.
    path.chmod(0)
    third = write_video(tmp_path / "c.mp4", moving_square(9))
    beside = features(path, other, third, "--store", tmp_path / "t.zarr", under=RIGHTS)
    assert beside.returncode == 1
    assert "1 videos done (2 clips), 0 there already, 2 failed" in beside.stdout
