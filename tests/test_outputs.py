"""Outputs: inputs and files of other programs are never overwritten; pipes, links and unusual names work."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import click
import matplotlib.font_manager  # noqa: F401 - import now, so that its font list is not cached in a test's folder
import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli import main
from extract.errors import OutputError
from extract.io.files import check_writable, replacing, write_text
from extract.io.outputs import check_outputs
from extract.records import VideoRecord
from extract.store.feature_store import FeatureStore
from extract.video.reader import source_digest
from pipeline.media.video_writer import open_mp4
from pipeline.outputs.places import drawn_output, evaluation_output, reproduction_output, run_output
from tests.media import moving_square, square_sample, write_index_lines, write_video

pytestmark = pytest.mark.slow

SMALL_MODEL = ("--set", "model.fused_width=16", "--set", "model.visual_width=8", "--set", "model.sentence_width=16")
FRAMES = 16
STRANGE = b"somebody's work of a year\n"


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def run(*args: object) -> Result:
    result = call(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(*args: object) -> str:
    """Run a command that must fail with a one-line error, and return that line."""
    result = call(*args)
    assert result.exit_code == 1, (args, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith(("Warning: ", "with "))]
    assert line.startswith("Error: ")
    assert ": " in line.removeprefix("Error: ")
    assert "; " in line
    return line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a video, a store with random features, an index, a run, predictions, settings and word vectors."""
    root = tmp_path_factory.mktemp("outputs")
    cache = tmp_path_factory.mktemp("cache")
    video = write_video(root / "clips" / "a.mp4", moving_square(FRAMES))
    store = FeatureStore.open_for(root / "data" / "features.zarr", {"backbone": "none"})
    with store.write("a.mp4", channels=4) as writer:
        writer.append(np.random.default_rng(0).random((3, 4, 7, 7), np.float32))
        record = VideoRecord(
            width=64, height=48, fps=10.0, frame_count=FRAMES, duration_s=1.6, decoder="none", key="a.mp4",
            source=str(video), source_digest=source_digest(video),
        )  # fmt: skip
        ranges = np.array([(0, 8), (4, 12), (8, 16)])
        writer.finish(record, clip_frames=ranges, frame_times=np.arange(FRAMES + 1) / 10)
    (root / "vectors.txt").write_text("the 1 0 0\nsquare 0 1 0\nx 0 0 1\n")
    (root / "set.toml").write_text(f"device = 'cpu'\n[extract]\nvectors = '{root / 'vectors.txt'}'\n")
    write_index_lines(root / "labels.jsonl", [square_sample("a.mp4", "the square", (2, 9), id="1")])
    prediction = square_sample("a.mp4", "the square", (2, 9), id="1")
    write_index_lines(root / "p.jsonl", [{key: prediction[key] for key in ("id", "span", "boxes")}])
    before = Path.cwd()
    os.chdir(root)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache))
            run("prepare", "plain", "labels.jsonl")
            run("train", "--config", "set.toml", "--epochs", 1, *SMALL_MODEL)
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def inside(workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache0"))
    return workspace


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


GROUND = ("ground", "clips/a.mp4", "the square", "--config", "set.toml")
SCORE = ("score", "p.jsonl")
RUN_FILES = [f"runs/latest/{name}" for name in ("config.json", "model.safetensors", "training.pt", "log.jsonl")]

READ: list[tuple[tuple[object, ...], str]] = [
    *(((*GROUND, option), file) for option in ("--json", "--overlay")
      for file in ("clips/a.mp4", *RUN_FILES, "data/features.zarr/zarr.json", "set.toml", "vectors.txt")),
    *(((*SCORE, option), file) for option in ("--json",)
      for file in ("p.jsonl", "data/index.parquet", "data/features.zarr/zarr.json")),
    (("inspect", "data/features.zarr", "a.mp4", "--picture"), "data/features.zarr/zarr.json"),
]  # fmt: skip
SPELLINGS: dict[str, Callable[[Path, Path], Path]] = {
    "as it is": lambda file, _: file,
    "roundabout": lambda file, _: Path("clips") / ".." / file,
    "absolute": lambda file, _: file.absolute(),
    "a symbolic link": lambda file, folder: linked(folder, file, Path.symlink_to),
    "a hard link": lambda file, folder: linked(folder, file, Path.hardlink_to),
}


def linked(folder: Path, file: Path, link: Callable[[Path, Path], None]) -> Path:
    path = folder / ("link" + (file.suffix if file.suffix in (".mp4", ".png") else ".mp4"))
    link(path, file.absolute())
    return path


@pytest.mark.parametrize(("command", "file"), READ, ids=lambda value: " ".join(value[::3]) if isinstance(value, tuple) else value)  # fmt: skip # noqa: E501
def test_an_output_that_is_an_input_is_refused(inside: Path, tmp_path: Path, command: tuple[str, ...], file: str) -> None:  # fmt: skip # noqa: E501
    before = contents(inside)
    named = refused(*command, file, "--force")
    assert file in named
    assert contents(inside) == before


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("command", "file"), [((*GROUND, "--json"), "clips/a.mp4"), ((*GROUND, "--overlay"), "clips/a.mp4"),
                          ((*SCORE, "--json"), "p.jsonl"), ((*SCORE, "--json"), "data/index.parquet")],
)  # fmt: skip
def test_an_input_is_known_by_any_name(
    inside: Path, tmp_path: Path, command: tuple[str, ...], file: str, spelling: str
) -> None:
    before = contents(inside)
    path = SPELLINGS[spelling](Path(file), tmp_path)
    assert "itself" in refused(*command, path, "--force")
    assert contents(inside) == before
    assert not (inside / "data" / "index.parquet").is_symlink()


def test_figures_do_not_replace_inputs(inside: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "p.png"
    predictions.write_bytes(Path("p.jsonl").read_bytes())
    assert "is the file of predictions itself" in refused("score", predictions, "--figure", predictions, "--force")
    settings = tmp_path / "s.svg"
    settings.write_text("device = 'cpu'\n")
    for command in ((*SCORE, "--figure"), ("inspect", "data/features.zarr", "a.mp4", "--picture")):
        assert "is the file of settings itself" in refused(*command, settings, "--config", settings, "--force")
    assert settings.read_text() == "device = 'cpu'\n"


def test_indexes_do_not_replace_labels(inside: Path, tmp_path: Path) -> None:
    content = Path("labels.jsonl").read_bytes()
    for name, out in (
        ("a.parquet", "a.parquet"),
        ("b.findings.jsonl", "b.parquet"),
        ("c.videos.json", "c.parquet"),
    ):
        labels = tmp_path / name
        labels.write_bytes(content)
        for command in ("plain", "hcstvg", "vidstg"):
            line = refused("prepare", command, labels, "--out", tmp_path / out, "--force")
            assert f"{labels}: is a file of labels itself" in line
        assert labels.read_bytes() == content
    boxes = tmp_path / "boxes" / "0" / "7.videos.json"
    boxes.parent.mkdir(parents=True)
    boxes.write_bytes(STRANGE)
    labels = tmp_path / "test_annotations.json"
    labels.write_text("[]")
    line = refused("prepare", "vidstg", labels, "--boxes", tmp_path / "boxes", "--out", boxes.with_name("7.parquet"), "--force")  # fmt: skip # noqa: E501
    assert "is a file of boxes itself" in line
    assert boxes.read_bytes() == STRANGE
    videos = tmp_path / "videos.findings.jsonl"
    videos.symlink_to(inside / "clips" / "a.mp4")
    line = refused("prepare", "plain", "labels.jsonl", "--videos", "clips", "--out", tmp_path / "videos.parquet", "--force")  # fmt: skip # noqa: E501
    assert "is a source video itself" in line


def test_folders_do_not_replace_inputs(inside: Path, tmp_path: Path) -> None:
    for command, name in ((("train",), "log.jsonl"), (("evaluate", "runs/latest"), "predictions.jsonl")):
        index = tmp_path / name
        index.write_bytes(Path("labels.jsonl").read_bytes())
        line = refused(*command, index, "--out", tmp_path, "--config", "set.toml", "--force")
        assert f"{index}: is the index itself" in line
        assert index.read_bytes() == Path("labels.jsonl").read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--config", "set.toml", "--out"),
        ("evaluate", "runs/latest", "data/index.parquet", "--config", "set.toml", "--out"),
        ("synth",),
        ("reproduce", "table1", "--out"),
        ("prepare", "plain", "labels.jsonl", "--out"),
        ("features", "clips", "--store"),
        (*GROUND, "--store"),
        (*GROUND, "--json"),
        (*SCORE, "--json"),
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_a_store(inside: Path, command: tuple[str, ...]) -> None:
    before = contents(inside)
    force = () if "--store" in command else ("--force",)
    assert "lies in the feature store" in refused(*command, "data/features.zarr/videos/x.parquet", *force)
    if command[0] in ("train", "evaluate", "synth", "reproduce"):
        assert "lies in the feature store" in refused(*command, "data/features.zarr", *force)
    assert contents(inside) == before


def test_two_outputs_in_one_file_are_refused(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "t.mp4")
    for json_file, overlay in (
        ("t.mp4", "t.mp4"),
        ("t.mp4", "link.mp4"),
        ("t.mp4", "x/../t.mp4"),
        ("t.mp4/j", "t.mp4"),
    ):
        line = refused(*GROUND, "--json", tmp_path / json_file, "--overlay", tmp_path / overlay, "--force")
        assert "named for two outputs" in line or "will be a file" in line
    assert "named for two outputs" in refused(*SCORE, "--json", tmp_path / "a.png", "--figure", tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["link.mp4"]
    run(*GROUND, "--json", os.devnull, "--overlay", os.devnull)
    assert Path(os.devnull).is_char_device()


# Files of other programs

FILES: list[tuple[tuple[object, ...], str]] = [
    ((*GROUND, "--json"), "t.json"),
    ((*GROUND, "--overlay"), "o.mp4"),
    ((*SCORE, "--json"), "s.json"),
    *(((*SCORE, "--figure"), f"f.{kind}") for kind in ("png", "svg", "pdf")),
    (("inspect", "data/features.zarr", "a.mp4", "--picture"), "a.png"),
    (("prepare", "plain", "labels.jsonl", "--out"), "i.parquet"),
]


@pytest.mark.parametrize(("command", "name"), FILES, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_file_of_somebody_else_is_kept(inside: Path, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    path = tmp_path / name
    path.write_bytes(STRANGE)
    line = refused(*command, path)
    assert line.startswith(f"Error: {path}: a file of {len(STRANGE)} bytes from 2")
    assert "--force" in line
    assert path.read_bytes() == STRANGE
    assert list(tmp_path.iterdir()) == [path]
    run(*command, path, "--force")
    written = path.read_bytes()
    assert written != STRANGE
    run(*command, path)  # a file that this program wrote is replaced
    assert len(path.read_bytes()) == pytest.approx(len(written), rel=0.1)


def test_an_empty_file_is_nobody_s(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "s.json").touch()
    run(*SCORE, "--json", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["samples"]


@pytest.mark.parametrize("name", ["i.findings.jsonl", "i.videos.json"])
def test_files_beside_an_index_are_kept_too(inside: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(STRANGE)
    command = ("prepare", "plain", "labels.jsonl", "--videos", "clips", "--out", tmp_path / "i.parquet",
               "--set", "paths.store=none.zarr")  # fmt: skip
    assert str(tmp_path / name) in refused(*command)
    assert contents(tmp_path) == {name: STRANGE}
    run(*command, "--force")
    run(*command)


def test_videos_json_and_predictions_of_others_are_no_output_of_ours(inside: Path, tmp_path: Path) -> None:
    strangers: dict[str, bytes] = {
        "o.mp4": Path("clips/a.mp4").read_bytes(),
        "t.json": b'{"video": "a.mp4", "query": "x", "boxes": []}',
        "deep.json": b"[" * 100_000,
        "cut.json": b'{"video": "a.mp4", "query": "x", "words": [], "span": [0, 1], "boxes": [',
        "latin.json": '{"video": "é"}'.encode("latin-1"),
    }
    for name, content in strangers.items():
        (tmp_path / name).write_bytes(content)
        refused(*GROUND, "--overlay" if name == "o.mp4" else "--json", tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


FOLDERS = [
    ("train", "--config", "set.toml", "--epochs", "1", *SMALL_MODEL, "--out"),
    ("evaluate", "runs/latest", "data/index.parquet", "--config", "set.toml", "--out"),
    ("synth",),
    ("reproduce", "table1", "--out"),
]
STRANGERS: dict[str, dict[str, bytes]] = {
    "their run": {"config.json": b'{"model_type": "bert"}', "log.jsonl": b'{"loss": 1}\n'},
    "their scores": {"predictions.jsonl": b'{"id": "7", "span": [0, 1], "boxes": []}\n', "scores.json": b"{}"},
    "their data": {"index.parquet": STRANGE, "videos/a.mp4": STRANGE, "synth.json": b"[1]"},
    "their page": {"results.md": b"# Results\n\nOurs are better.\n", "curves.png": STRANGE},
    "their settings": {"config.json": b'{"format": 1, "config": {"model": "resnet", "train": {}, "extract": {}}}'},
    "a note": {"note.txt": STRANGE},
    "five files": {f"{number}.txt": STRANGE for number in range(5)},
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("command", FOLDERS, ids=lambda command: command[0])
def test_a_folder_of_somebody_else_is_kept(
    inside: Path, tmp_path: Path, command: tuple[str, ...], stranger: str
) -> None:
    folder = tmp_path / "theirs"
    for name, content in STRANGERS[stranger].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    line = refused(*command, folder)
    assert line.startswith(f"Error: {folder}: holds ")
    assert "--force" in line
    first = min(path.name for path in folder.iterdir())
    assert f"holds {first}" in line
    assert ("and 2 more" in line) == (stranger == "five files")
    assert contents(folder) == STRANGERS[stranger]


@pytest.mark.parametrize("command", FOLDERS[:2], ids=lambda command: command[0])
def test_folders_of_ours_are_used_again_and_others_with_force(
    inside: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    run(*command, tmp_path / "new")  # an existing folder without files may be used
    (tmp_path / "new" / "note.txt").write_bytes(STRANGE)
    (tmp_path / "new" / "x.1234.partial").write_bytes(b"")
    run(*command, tmp_path / "new")
    other = tmp_path / "other"
    other.mkdir()
    (other / "note.txt").write_bytes(STRANGE)
    run(*command, other, "--force")
    assert (other / "note.txt").read_bytes() == STRANGE


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt"])
def test_with_force_training_replaces_the_files_of_another_program(inside: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(STRANGE)
    refused(*FOLDERS[0], tmp_path)
    run(*FOLDERS[0], tmp_path, "--force")
    run("evaluate", tmp_path, "data/index.parquet", "--config", "set.toml")


def test_with_force_a_damaged_run_is_kept(inside: Path, tmp_path: Path) -> None:
    run(*FOLDERS[0], tmp_path)
    for name in ("config.json", "training.pt"):
        before = contents(tmp_path)
        (tmp_path / name).write_bytes(STRANGE)
        damaged = contents(tmp_path)
        assert name in refused(*FOLDERS[0], tmp_path, "--force")
        assert contents(tmp_path) == damaged
        (tmp_path / name).write_bytes(before[name])


@pytest.mark.parametrize("command", FOLDERS, ids=lambda command: command[0])
def test_beside_other_outputs_of_ours_no_name_may_be_taken(
    inside: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    run("prepare", "plain", "labels.jsonl", "--out", tmp_path / "i.parquet")
    output = {"train": run_output, "evaluate": evaluation_output, "synth": drawn_output,
              "reproduce": reproduction_output}[command[0]](tmp_path)  # fmt: skip
    check_outputs([output], {}, force=False)
    for path in output.files:
        path.write_bytes(STRANGE)
        assert f"holds {path.name}, and" in refused(*command, tmp_path)
        path.unlink()


def test_an_interrupted_evaluation_is_repeated(inside: Path, tmp_path: Path) -> None:
    run(*FOLDERS[1], tmp_path / "e")
    for name in ("scores.json", "scores.png"):
        (tmp_path / "e" / name).unlink()
    run(*FOLDERS[1], tmp_path / "e")


# FIFOs, links and devices


THROUGH = [FILES[0], FILES[1], FILES[3], FILES[-1]]


def reading(pipe: Path) -> tuple[threading.Thread, list[bytes]]:
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    thread.start()
    return thread, found


@pytest.mark.parametrize(("command", "name"), THROUGH, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_pipe_is_written_into(inside: Path, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    thread, found = reading(pipe)
    run(*command, pipe)
    thread.join(timeout=20)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    head = {".json": b"{", ".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".parquet": b"PAR1"}
    assert found[0].startswith(head.get(pipe.suffix, found[0][:1]))
    if pipe.suffix == ".mp4":
        (tmp_path / "copy.mp4").write_bytes(found[0])
        with av.open(str(tmp_path / "copy.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == FRAMES


@pytest.mark.parametrize(("command", "name"), THROUGH, ids=lambda value: value if isinstance(value, str) else value[0])
def test_links_are_followed(inside: Path, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    link, target = tmp_path / name, tmp_path / "far" / name
    target.parent.mkdir()
    (tmp_path / f"second.{name}").symlink_to(target)
    link.symlink_to(f"second.{name}")  # a relative link to a link to a file that does not exist yet
    run(*command, link)
    assert link.is_symlink()
    assert not target.is_symlink()
    target.chmod(0o640)
    run(*command, link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_size > 0
    link.unlink()
    link.symlink_to(link.name)
    assert "symbolic links" in refused(*command, link)
    assert link.is_symlink()


def test_special_files_stay_what_they_are(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OutputError, match="is a socket; name a file"):
            check_writable(tmp_path / "s")
        with pytest.raises(OutputError, match="cannot be written"):
            write_text(tmp_path / "s", "x")
        assert stat.S_ISSOCK((tmp_path / "s").lstat().st_mode)
    pipe = tmp_path / "p"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/null"), Path("/dev/full")):
        check_writable(place)
    with pytest.raises(OutputError, match="No space left"):
        write_text(Path("/dev/full"), "x")
    assert Path("/dev/full").is_char_device()
    # A reader may close the pipe early; this is not an error.
    leaving = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    threading.Timer(0.2, os.close, [leaving]).start()
    write_text(pipe, "x" * 1_000_000)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_device_of_its_own_is_written_into_by_root_too(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.write_bytes(b"")
    except OSError:
        pytest.skip("this user may make no devices")
    write_text(device, "x")
    assert device.is_char_device()


def test_open_files_are_written_where_they_stand(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        os.set_inheritable(log.fileno(), True)
        log.write("before\n")
        log.flush()
        check_writable(Path(f"/dev/fd/{log.fileno()}"))
        write_text(Path(f"/dev/fd/{log.fileno()}"), "content\n")
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "before\ncontent\nafter\n"
    with (tmp_path / "log").open("w") as own, pytest.raises(OutputError, match="not open for writing"):
        check_writable(Path(f"/proc/self/fd/{own.fileno()}"))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_text("old")
    link.symlink_to(path)

    def fail(place: Path) -> None:
        with replacing(place) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    for place in (path, link):
        with pytest.raises(KeyboardInterrupt):
            fail(place)
    assert contents(tmp_path) == {"a": b"old", "link": b"old"}
    path.chmod(0o604)
    write_text(link, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == ("new", 0o604, True)
    write_text(tmp_path / ("é" * 127), "long")


# Names

NAMES = [
    "12:30.mp4", "2024-01-01T12:30:45.mp4", "file:x.mp4", "http:x.mp4", "pipe:1.mp4", "concat:a|b.mp4", "%d.mp4",
    "frame%03d.mp4", "-x.mp4", "--y.mp4", "[a]*?.mp4", " a b .mp4", ".mp4", "a\nb.mp4", "vidéo 動画.mp4",
    os.fsdecode(b"caf\xe9.mp4"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable(Path(name))
    with open_mp4(Path(name), width=64, height=48, rate=Fraction(10)) as writer:
        for frame in moving_square(3):
            writer.write(frame)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with (tmp_path / name).open("rb") as file, av.open(file, "r") as video:
        assert sum(1 for _ in video.decode(video=0)) == 3


def test_ground_and_score_take_odd_names(inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tuple(inside / word if word in ("clips/a.mp4", "set.toml") else word for word in GROUND)
    places = ("--store", inside / "data/features.zarr", "--checkpoint", inside / "runs/latest")
    monkeypatch.chdir(tmp_path)
    run(*command, *places, "--overlay", "12:30.mp4", "--json", "-%d.json")
    run("score", inside / "p.jsonl", inside / "data/index.parquet", "--figure", "file:%d.png", "--json", "http:x")
    assert {path.name for path in tmp_path.iterdir()} == {"12:30.mp4", "-%d.json", "file:%d.png", "http:x"}


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda folder: folder / ("x" * 300 + ".mp4"), "File name too long"),
        (lambda folder: folder / "new" / ("x" * 300) / "o.mp4", "File name too long"),
        (lambda folder: folder / "file" / "o.mp4", "Not a directory"),
        (lambda folder: folder / "file" / "deep" / "o.mp4", "Not a directory"),
        (lambda folder: folder / "folder", "is a folder"),
        (lambda _: Path("/proc/none/o.mp4"), "/proc cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    inside: Path, tmp_path: Path, make: Callable[[Path], Path], cause: str
) -> None:
    (tmp_path / "file").write_bytes(STRANGE)
    (tmp_path / "folder").mkdir()
    path = make(tmp_path)
    # The input is not a video, but the output is checked first.
    for option in ("--json", "--overlay"):
        assert cause in refused("ground", tmp_path / "file", "x", option, path)
    assert cause in refused("score", tmp_path / "file", "--json", path)
    assert {item.name for item in tmp_path.iterdir()} == {"file", "folder"}


def test_folders_that_cannot_be_written_are_refused_before_the_work(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(STRANGE)
    (tmp_path / "link").symlink_to("gone")
    for command in FOLDERS:
        assert "is a file; name a folder" in refused(*command, tmp_path / "file")
        assert "leads nowhere" in refused(*command, tmp_path / "link")
        assert "file" in refused(*command, tmp_path / "file" / "deep")
        assert "too long" in refused(*command, tmp_path / "new" / ("x" * 300))
    assert contents(tmp_path) == {"file": STRANGE}


def test_an_overlay_is_named_as_a_video(inside: Path, tmp_path: Path) -> None:
    assert "let its name end in .mp4" in refused(*GROUND, "--overlay", tmp_path / "o.avi")
    assert "let its name end in png, svg, pdf" in refused(*SCORE, "--figure", tmp_path / "f.jpeg")
    assert "let its name end in .parquet" in refused("prepare", "plain", "labels.jsonl", "--out", tmp_path / "i.csv")


# Printed output


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `cli` runs the command line interface."""
    root = Path(__file__).parents[1]
    command = f'cli() {{ {sys.executable} -m cli "$@"; }}; {line}; exit ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


ENDS = ["| head -1", "| true", ">&-", "2>&-", ">&- 2>&- <&-", "> /dev/null 2> /dev/full", "2>&1 | true"]


@pytest.mark.parametrize("end", ENDS)
def test_a_closed_stream_is_no_failure(tmp_path: Path, end: str) -> None:
    done = shell(f"cli config {end}", tmp_path)
    assert done.returncode == 0, done
    assert done.stderr == ""


def test_results_are_there_whatever_becomes_of_the_streams(workspace: Path, tmp_path: Path) -> None:
    done = shell(f"cli inspect data/features.zarr a.mp4 --picture {tmp_path}/a.png >&- 2>&- <&-", workspace)
    assert done.returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_an_error_has_its_exit_code_without_a_stream_to_be_told_on(tmp_path: Path) -> None:
    for end in ("2>&-", "2> /dev/full", "2>&1 | true"):
        assert shell(f"cli config --config absent.toml {end}", tmp_path).returncode == 1
        assert shell(f"cli config --no-such-option {end}", tmp_path).returncode == 2


def test_standard_output_that_is_full_is_a_failure(tmp_path: Path) -> None:
    told = "Error: standard output: cannot be written (No space left on device); redirect it elsewhere\n"
    for command in ("config", "--help"):
        done = shell(f"cli {command} > /dev/full", tmp_path)
        assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_a_result_on_standard_output_stands_alone(inside: Path, tmp_path: Path, name: str) -> None:
    kept = os.dup(1)
    try:
        with (tmp_path / "out").open("wb") as out:
            os.dup2(out.fileno(), 1)
        result = run(*SCORE, "--json", name)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert json.loads((tmp_path / "out").read_text())["samples"]
    assert result.stdout == ""
    assert "m_vIoU" in result.stderr
    assert Path("/dev/stdout").is_symlink()


class Watch:
    """A standard output that checks at each write that all result files exist."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.text = ""

    def write(self, text: str) -> int:
        assert all(path.is_file() for path in self.paths), text
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ((*GROUND, "--json", "t.json", "--overlay", "o.mp4"), ("t.json", "o.mp4")),
        (("score", "p.jsonl", "data/index.parquet", "--json", "s.json", "--figure", "f.png"), ("s.json", "f.png")),
        (("inspect", "data/features.zarr", "a.mp4", "--picture", "a.png"), ("a.png",)),
        (("prepare", "plain", "labels.jsonl", "--out", "i.parquet"), ("i.parquet", "i.findings.jsonl")),
        (FOLDERS[1] + ("e",), ("e",)),
    ],
    ids=lambda value: value[0],
)  # fmt: skip
def test_results_are_written_before_anything_is_printed(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], names: tuple[str, ...]
) -> None:
    args = [str(tmp_path / word) if word in names else word for word in command]
    files = [tmp_path / name for name in names if "." in name] or [tmp_path / "e" / "scores.png"]
    watch = Watch(*files)
    monkeypatch.setattr(sys, "stdout", watch)
    with pytest.raises(SystemExit) as end:
        main.main(args)
    assert end.value.code == 0
    assert watch.text.strip()


def test_every_command_that_writes_has_force() -> None:
    def leaves(group: click.Group) -> Iterator[click.Command]:
        for command in group.commands.values():
            yield from leaves(command) if isinstance(command, click.Group) else (command,)

    without = {"features", "verify", "text", "compare", "config"}  # they write only to a store, or nothing
    for command in leaves(main):
        has = any("--force" in option.opts for option in command.params)
        assert has is (command.name not in without), command.name
