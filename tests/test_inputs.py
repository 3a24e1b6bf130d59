from pathlib import Path

import pytest

from extract.errors import MissingInputError
from extract.inputs import find_videos


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("one.mp4", "deep/two.MKV", "deep/three.webm", "deep/notes.doc"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def keys(*paths: str, root: Path | None = None) -> list[str]:
    return [video.key for video in find_videos(paths, root=root)]


def test_folders_files_globs_and_lists(videos: Path) -> None:
    assert keys(str(videos)) == ["deep/three.webm", "deep/two.MKV", "one.mp4"]
    assert keys(str(videos / "one.mp4")) == ["one.mp4"]
    assert keys(f"{videos}/**/*.webm") == ["three.webm"]
    listing = videos / "list.txt"
    listing.write_text("\ufeffone.mp4\n\ndeep/two.MKV\n", encoding="utf-8")  # a mark that Windows sets before
    assert keys(str(listing)) == ["one.mp4", "two.MKV"]


def test_lines_of_a_list_may_be_globs_but_no_lists(videos: Path) -> None:
    listing = videos / "list.txt"
    listing.write_text("deep/*.webm\n*.mp4\n*.mkv\n")
    assert keys(str(listing)) == ["*.mkv", "one.mp4", "three.webm"]  # what names nothing fails by itself, later
    for line in ("list.txt", "*", "*.txt"):
        listing.write_text(f"{line}\n")
        with pytest.raises(MissingInputError, match=r"list\.txt: names another list"):
            keys(str(listing))


def test_links_that_lead_to_themselves(videos: Path) -> None:
    (videos / "loop.mp4").symlink_to(videos / "loop.mp4")
    (videos / "list.txt").write_text("loop.mp4\n")
    assert keys(str(videos / "list.txt")) == ["loop.mp4"]


def test_a_root_may_be_named_in_another_way(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(videos)
    assert keys("deep", root=videos) == keys(str(videos / "deep"), root=Path()) == ["deep/three.webm", "deep/two.MKV"]


def test_a_path_that_no_system_takes_is_one_line() -> None:
    with pytest.raises(MissingInputError, match="cannot be looked at"):
        keys(f"{'x' * 300}.mp4")


def test_root_makes_keys(videos: Path) -> None:
    assert keys(str(videos / "deep"), root=videos) == ["deep/three.webm", "deep/two.MKV"]
    with pytest.raises(MissingInputError, match="outside --root"):
        keys(str(videos / "one.mp4"), root=videos / "deep")


def test_one_video_named_twice_is_one(videos: Path) -> None:
    assert keys(str(videos / "one.mp4"), str(videos / "one.mp4")) == ["one.mp4"]


def test_two_videos_of_one_name_are_refused(videos: Path) -> None:
    (videos / "deep" / "one.mp4").touch()
    with pytest.raises(MissingInputError, match="same key 'one.mp4'.*--root"):
        keys(str(videos / "one.mp4"), str(videos / "deep" / "one.mp4"))


def test_nothing_to_find(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("\n")
    for path, cause in (("absent.mp4", "no such"), ("empty", "no video"), ("none.txt", "names no video")):
        with pytest.raises(MissingInputError, match=f"{path}: .*{cause}"):
            keys(str(tmp_path / path))
