import os
from pathlib import Path

import pytest

from extract.errors import MissingInputError
from extract.io.names import name_text, printable
from extract.io.tree import files_below
from extract.video.inputs import find_videos


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


# Links


def test_links_to_folders_are_followed(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(videos)
    (tmp_path / "set" / "named.mp4").symlink_to(videos / "deep", target_is_directory=True)
    there = [
        "named.mp4/three.webm",
        "named.mp4/two.MKV",
        "train/deep/three.webm",
        "train/deep/two.MKV",
        "train/one.mp4",
    ]
    assert keys(str(tmp_path / "set")) == there
    assert keys(f"{tmp_path}/set/**/*.webm", root=tmp_path / "set") == [there[0], there[2]]
    assert keys(f"{tmp_path}/set/**") == there


def test_links_that_lead_back_are_not_followed(videos: Path) -> None:
    before = keys(str(videos))
    (videos / "self").symlink_to(videos)
    (videos / "deep" / "up").symlink_to("..")
    (videos / "deep" / "itself").symlink_to("itself")
    (videos / "deep" / "here").symlink_to(".")
    assert keys(str(videos)) == before
    assert keys(f"{videos}/**/*.webm", root=videos) == ["deep/three.webm"]


def test_a_folder_that_two_links_name_has_two_keys_for_each_video(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        (tmp_path / "set" / name).symlink_to(videos / "deep")
    assert keys(str(tmp_path / "set")) == ["a/three.webm", "a/two.MKV", "b/three.webm", "b/two.MKV"]


def test_links_that_lead_nowhere(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (videos / "gone.mp4").symlink_to("/no/such.mp4")  # fails later, alone
    (videos / "loop.mp4").symlink_to("loop.mp4")
    for name in ("unmounted", "v2.0"):
        (videos / name).symlink_to("/no/such/folder")
    assert keys(str(videos)) == ["deep/three.webm", "deep/two.MKV", "gone.mp4", "loop.mp4", "one.mp4"]
    assert f"{videos}: 2 links in it lead nowhere and are left out, {videos / 'unmounted'} first" in caplog.text


def test_a_link_that_a_glob_matches_and_that_leads_nowhere_fails_alone(videos: Path) -> None:
    (videos / "gone.mp4").symlink_to("/no/such.mp4")
    assert keys(str(videos / "*.mp4")) == ["gone.mp4", "one.mp4"]


def test_boxes_are_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.JSON").touch()
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "training").symlink_to(tmp_path / "real")
    assert files_below(tmp_path / "boxes", {".json"}) == [tmp_path / "boxes" / "training" / "1.JSON"]


# Names

ODD = (
    "12:30:45.mp4", "%20%.mp4", "[1].mp4", "st*r?.mp4", "{a,b}.mp4", "~.mp4", "-x.mp4", "--.mp4", " a .mp4", "#1.mp4",
    "new\nline.mp4", "tab\t\x1b[31m.mp4", "back\\slash.mp4", "e\u0301.mp4", "\U0001f600.mp4", '<>|".mp4',
    "file:x.mp4", "$HOME.mp4", "\u2028.mp4", f"{'x' * 251}.mp4",
)  # fmt: skip


def test_a_path_that_exists_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("1.mp4").touch()  # which [1].mp4 would match
    for name in ODD:
        Path(name).touch()
        assert keys(name) == keys(f"./{name}") == keys(str(tmp_path / name)) == [name]
    assert keys(".") == sorted([*ODD, "1.mp4"])
    lines = [name for name in ODD if "\n" not in name]
    Path("list.txt").write_text("\n".join(lines), encoding="utf-8")
    assert keys("list.txt") == sorted(lines)
    Path("[1].mp4").unlink()
    Path("[1].mp4").symlink_to("gone")
    with pytest.raises(MissingInputError, match="no such file"):
        keys("[1].mp4")


def test_names_that_are_not_utf8_are_percent_encoded_in_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(os.fsdecode(b"d\xff"))
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.mp4")
    (folder / name).touch()
    Path("list.txt").write_bytes(b"d\xff/caf\xe9.mp4\r\nd\xff/*.mp4\r\n")
    assert keys(".") == ["d%FF/caf%E9.mp4"]
    assert keys(str(folder)) == keys("list.txt") == ["caf%E9.mp4"]
    (video,) = find_videos(["list.txt"])
    assert video.path.is_file()
    (folder / "caf%E9.mp4").touch()
    with pytest.raises(MissingInputError, match="same key 'caf%E9.mp4'"):
        keys(str(folder))


def test_names_as_text_and_in_messages() -> None:
    assert name_text(os.fsdecode(b"a/\xff\xc3\xa9%")) == "a/%FF\u00e9%"
    assert name_text(Path("plain.mp4")) == printable("plain.mp4") == "plain.mp4"
    shown = printable("a\nb\x1b[31m\u202e\u2028\x85" + os.fsdecode(b"\xe9") + "\ud800\u00e9")
    assert shown == r"a\nb\x1b[31m\u202e\u2028\x85\xe9\ud800" + "\u00e9"


def test_a_list_may_be_written_anywhere(videos: Path) -> None:
    listing = videos / "list.txt"
    for content in (
        "\ufeffone.mp4\r\n\r\n  deep/two.MKV  \r\n".encode(),
        "one.mp4\ndeep/two.MKV\n".encode("utf-16"),
        b"# a comment\none.mp4\n./deep/../deep/two.MKV",
        f"{videos}/one.mp4\n{videos}/deep/*.MKV".encode(),
    ):
        listing.write_bytes(content)
        assert keys(str(listing)) == ["one.mp4", "two.MKV"]


def test_one_line_of_a_list_does_not_stop_the_others(videos: Path) -> None:
    long = "x" * 300
    (videos / "list.txt").write_text(f"{long}.mp4\none.mp4\nabsent.mp4\n~/a.mp4\n")
    assert keys(str(videos / "list.txt")) == ["a.mp4", "absent.mp4", "one.mp4", f"{long}.mp4"]


def test_globs_in_a_list_stand_in_a_folder_that_looks_like_one(tmp_path: Path) -> None:
    folder = tmp_path / "[a]*"
    folder.mkdir()
    (folder / "1.mp4").touch()
    (folder / "list.txt").write_text("*.mp4\n")
    assert keys(str(folder / "list.txt")) == ["1.mp4"]


def test_what_is_no_path_is_one_line(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "nul.txt").write_bytes(b"one.mp4\nb\0.mp4\n")
    (tmp_path / "odd16.txt").write_bytes(b"\xff\xfea")
    os.mkfifo(tmp_path / "pipe")
    for path, cause in (
        ("", "is empty"), ("a\0b", "no such file"), (str(tmp_path / "nul.txt"), "line 2 holds a NUL"),
        (str(tmp_path / "odd16.txt"), "not a list"), (str(tmp_path / "pipe"), "neither a file nor a folder"),
    ):  # fmt: skip
        with pytest.raises(MissingInputError, match=cause):
            keys(path)


def test_a_root_may_have_dots(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(videos / "deep")
    assert keys(".", root=Path("..")) == keys("../deep", root=Path("..")) == ["deep/three.webm", "deep/two.MKV"]
    assert keys("two.MKV", "../one.mp4", root=Path("..")) == ["deep/two.MKV", "one.mp4"]
    (videos / "deep" / "link").symlink_to(videos)
    assert keys("link/one.mp4", root=videos / "deep" / "link") == ["one.mp4"]
    assert keys("link/one.mp4", root=videos) == ["deep/link/one.mp4"]
