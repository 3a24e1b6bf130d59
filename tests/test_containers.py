"""A path is always treated as a file name, and opening a file never opens another one that it refers to."""

from __future__ import annotations

import ast
import os
import shutil
from pathlib import Path

import pytest

from extract.errors import MediaError
from extract.video.containers import open_container
from extract.video.reader import open_video, probe
from extract.video.worker import NoVideoError, look, open_av, open_decord, open_source
from tests.media import moving_square, write_video

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NAMES = [
    b"2024-01-01T12:30:45.mp4",
    b"C:x.mp4",
    b"file:x.mp4",
    b"http:x.mp4",
    b"data:x.mp4",
    b"pipe:0.mp4",
    b"pipe:",
    b"fd:",
    b"concat:a|b.mp4",
    b"subfile,,start,0,end,0,,:x.mp4",
    b"%03d.mp4",
    b"x%03d.jpg",
    b"x.jpg",
    b"-x.mp4",
    b"--",
    b"-",
    b"[a].mp4",
    b"a?b.mp4",
    b"*.mp4",
    b"{a,b}.mp4",
    b"~x.mp4",
    b"~",
    b" x.mp4 ",
    b"a\nb.mp4",
    b"a'b\"c\\d.mp4",
    b"a#b?c=1&d.mp4",
    "é日本.mp4".encode(),
    b"caf\xe9.mp4",
    b"\xff\xfe%d:.mp4",
    b"x" * 251 + b".mp4",
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", moving_square(5), options={"bf": "0"})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, name: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, os.fsdecode(name))
    for path in (os.fsdecode(name), str(tmp_path / os.fsdecode(name))):
        with open_container(path) as container:
            assert sum(1 for _ in container.decode(video=0)) == 5
        assert sum(1 for _ in open_av(path).frames) == 5
        source = open_decord(path, look(path))
        assert source is not None
        assert sum(1 for _ in source.frames) == 5


@pytest.mark.parametrize("name", [b"2024-01-01T12:30:45.mp4", b"-x.mp4", b"caf\xe9 %d.mp4"])
def test_a_name_reaches_the_decoding_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, os.fsdecode(name))
    with open_video(Path(os.fsdecode(name)), timeout_s=30) as stream:
        assert len(list(stream.frames)) == 5


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {other}\n",
    "HLS": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1"><BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>\n',
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_files_opens_none(tmp_path: Path, kind: str) -> None:
    """The file that the list refers to is a FIFO, so opening it would block until there is a writer."""
    os.mkfifo(tmp_path / "other.mp4")
    path = tmp_path / "x.mp4"
    path.write_text(LISTS[kind].format(other="other.mp4"))
    with pytest.raises(NoVideoError, match="not a video that can be read"):
        open_source(str(path))


def test_a_list_of_a_video_is_none(tmp_path: Path, video: Path) -> None:
    shutil.copy(video, tmp_path / "other.mp4")
    path = tmp_path / "x.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(MediaError, match=r"x\.mp4: not a video that can be read"):
        probe(path, timeout_s=30)


def test_numbered_pictures_are_not_looked_for(tmp_path: Path, video: Path) -> None:
    """Libav would treat such a name as a pattern and open all matching images."""
    path = tmp_path / "x%d.jpg"
    shutil.copy(video, path)
    os.mkfifo(tmp_path / "x1.jpg")
    assert sum(1 for _ in open_av(str(path)).frames) == 5


def test_one_module_opens_containers_for_reading() -> None:
    callers = {
        path.relative_to(ROOT).as_posix()
        for package in ("extract", "model", "pipeline")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "av.open"
        and "'w'" not in map(ast.unparse, node.args)
    }
    assert callers == {"extract/video/containers.py"}
