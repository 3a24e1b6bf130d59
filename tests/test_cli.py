"""The commands as a user types them, on small videos that are made here."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from cli import main
from extract.store.feature_store import FeatureStore
from tests.media import moving_square, square_sample, write_index_lines, write_video

pytestmark = pytest.mark.slow

SMALL_MODEL = (
    "--set",
    "model.fused_width=16",
    "--set",
    "model.visual_width=8",
    "--set",
    "model.sentence_width=16",
)
COMMAND = (sys.executable, "-m", "cli")


def run(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    if code == 1:
        assert isinstance(result.exception, SystemExit)  # no traceback
        lines = [line for line in result.stderr.splitlines() if line.startswith(("Error: ", "Failed: "))]
        assert len(lines) == 1, result.stderr
        assert "Traceback" not in result.stderr
    return result


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos with features, an index and a run of one epoch, in the default places."""
    root = tmp_path_factory.mktemp("workspace")
    write_video(root / "clips" / "a.mp4", moving_square(30), sound="aac")
    write_video(
        root / "clips" / "deep" / "b.mp4",
        moving_square(21, width=65, height=49, seed=1),
        codec="libx264rgb",
        pixels="rgb24",
    )
    write_index_lines(
        root / "labels.jsonl",
        [
            square_sample("a.mp4", "the red square moves to the right", (8, 24)),
            square_sample("a.mp4", "what moves?", (0, 12), kind="interrogative"),
            square_sample("deep/b.mp4", "a qzxqzx square", (4, 16)),
        ],
    )
    before = Path.cwd()
    os.chdir(root)
    try:
        assert "2 videos done" in run("features", "clips").output
        assert (
            "3 samples -> data/index.parquet; 0 rejected"
            in run("prepare", "plain", "labels.jsonl", "--videos", "clips").output
        )
        run("train", "--epochs", 1, *SMALL_MODEL)
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


# Help


def leaves(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """Names of the commands that are no groups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *names, name)
        else:
            yield (*names, name)


def test_help_is_quick() -> None:
    def seconds(*command: str) -> float:
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begun

    # A ratio, since machines differ: help may cost a few bare interpreters, never the import of torch.
    bare = min(seconds(sys.executable, "-c", "import click") for _ in range(3))
    assert min(seconds(*COMMAND, "--help") for _ in range(3)) < 3 * bare


@pytest.mark.parametrize("names", sorted(leaves(main)), ids=" ".join)
def test_every_command_has_help_with_an_example_that_parses(names: tuple[str, ...]) -> None:
    text = " ".join(run(*names, "--help").output.split())
    example = re.search(r"Example: gkcmn-pipe (.*)$", text)
    assert example is not None
    import shlex

    words = shlex.split(example[1].partition(" > ")[0])
    assert tuple(words[: len(names)]) == names
    command: click.Command = main
    for name in names:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    command.make_context(names[-1], words[len(names) :])


# The whole line


def test_features_are_skipped_when_done(inside: Path) -> None:
    assert "0 videos done (0 clips), 2 there already, 0 failed" in run("features", "clips").output
    store = FeatureStore.open("data/features.zarr")
    assert sorted(store.keys()) == ["a.mp4", "deep/b.mp4"]
    video = store.read("a.mp4")
    assert video.i3d.shape == (7, 1024, 7, 7)
    assert video.i3d.max() > 0
    assert (video.record.width, video.record.height, video.record.frame_count) == (64, 48, 30)


def test_text_names_words_without_a_vector(inside: Path) -> None:
    result = run("text")
    assert "3 queries, 0 new" in result.output
    assert "Warning: no vector for qzxqzx" in result.stderr


def test_ground_takes_any_text(inside: Path, tmp_path: Path) -> None:
    odd = "the dog\u2019s\u200b <b>black&white</b>\0 ball\x1b[31m caf\udce9 \ud800"
    run("ground", "clips/a.mp4", odd, "--json", tmp_path / "odd.json", "--overlay", tmp_path / "odd.mp4")
    run("ground", "clips/a.mp4", "the dog's black white ball caf", "--json", tmp_path / "plain.json")
    found, plain = (json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in ("odd", "plain"))
    assert found["query"] == "the dog\u2019s\u200b <b>black&white</b>\0 ball\x1b[31m caf\ufffd \ufffd"
    assert {**found, "query": plain["query"]} == plain


def test_ground_refuses_a_query_without_words(inside: Path) -> None:
    assert "query '\\x1b[31m\\u200b': it has no words" in run("ground", "clips/a.mp4", "\x1b[31m\u200b", code=1).stderr


def test_a_run_from_before_queries_were_normalized_can_be_used(inside: Path, tmp_path: Path) -> None:
    old = shutil.copytree("runs/latest", tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    assert config["encoding"] == "glove.6B.50d 20 words, normalized"
    del config["checksum"]  # runs of earlier versions have none
    config["encoding"] = "glove.6B.50d 20 words"
    (old / "config.json").write_text(json.dumps(config))
    run("evaluate", old, "--out", tmp_path / "one")
    run("evaluate", "--out", tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("one", "two"))
    assert one["groups"] == two["groups"]
    result = run("train", "--out", old, "--epochs", 2, *SMALL_MODEL)
    assert "begun before queries were normalized" in result.stderr
    assert "2 epochs" in result.output
    assert "normalized" not in run("train", "--out", old, "--epochs", 3, *SMALL_MODEL).stderr
    config["encoding"] = "glove.6B.50d 19 words"
    assert "checksum" not in config
    (old / "config.json").write_text(json.dumps(config))
    assert "the word vectors" in run("train", "--out", old, "--epochs", 4, *SMALL_MODEL, code=1).stderr
    assert "learnt from the word vectors" in run("evaluate", old, code=1).stderr


def test_evaluate_writes_predictions_and_scores(inside: Path) -> None:
    output = run("evaluate", "--out", "scores").output
    assert "m_vIoU" in output
    scores = json.loads(Path("scores/scores.json").read_text())
    lines = [json.loads(line) for line in Path("scores/predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["1", "2", "3"]
    groups = scores["groups"]
    assert groups["all"]["all"]["m_tIoU"]["mean"] == pytest.approx(np.mean([one["tiou"] for one in scores["samples"]]))
    assert groups["sentence"]["interrogative"]["samples"] == 1
    for line in lines:
        assert len(line["boxes"]) == line["span"][1] - line["span"][0] >= 1
    assert Path("scores/scores.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("flags", [(), ("--temporal-gt",), ("--protocol", "stcat"), ("--protocol", "tubedetr")])
def test_score_agrees_with_evaluate(inside: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    run("evaluate", "--out", tmp_path, *flags)
    run("score", tmp_path / "predictions.jsonl", "--json", tmp_path / "again.json", *flags)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("scores.json", "again.json"))
    # Predictions are written to a hundredth of a pixel.
    for name, estimate in one["groups"]["all"]["all"].items():
        assert two["groups"]["all"]["all"][name] == pytest.approx(estimate, abs=1e-3)
    output = run("compare", tmp_path / "scores.json", tmp_path / "again.json").output
    assert "of 3 samples changed" in output


@pytest.mark.parametrize(("video", "size"), [("clips/a.mp4", (64, 48)), ("clips/deep/b.mp4", (66, 50))])
def test_ground_prints_and_writes_a_tube(inside: Path, tmp_path: Path, video: str, size: tuple[int, int]) -> None:
    tube, overlay = tmp_path / "tube.json", tmp_path / "overlay.mp4"
    output = run("ground", video, "the red square", "--json", tube, "--overlay", overlay).output
    assert "from the store" in output
    found = json.loads(tube.read_text())
    start, end = found["span"]["start_frame"], found["span"]["end_frame"]
    assert 0 <= start < end <= found["frame_count"]
    assert [entry["frame"] for entry in found["boxes"]] == list(range(start, end))
    for entry in found["boxes"]:
        x1, y1, x2, y2 = entry["box"]
        assert 0 <= x1 <= x2 <= found["width"]
        assert 0 <= y1 <= y2 <= found["height"]
    with av.open(str(overlay)) as drawn, av.open(video) as source:
        stream, original = drawn.streams.video[0], source.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == size
        assert stream.average_rate == original.average_rate
        assert len(drawn.streams.audio) == len(source.streams.audio)
        assert sum(1 for _ in drawn.decode(stream)) == found["frame_count"]


def test_ground_without_a_store_extracts(inside: Path, tmp_path: Path) -> None:
    result = run("ground", "clips/a.mp4", "square", "--checkpoint", "runs/latest", "--store", tmp_path / "new.zarr")
    assert "features extracted" in result.output
    again = run("ground", "clips/a.mp4", "the square", "--store", tmp_path / "new.zarr")
    assert "from the store" in again.output
    # One video's result does not depend on who extracted it.
    one, two = (
        run("ground", "clips/a.mp4", "square"),
        run("ground", "clips/a.mp4", "square", "--store", tmp_path / "new.zarr"),
    )
    assert one.output == two.output


def test_ground_finds_what_links_lead_to(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "named.mp4").symlink_to((inside / "clips/a.mp4").resolve())
    (tmp_path / "clips").symlink_to((inside / "clips").resolve())
    for video in (tmp_path / "named.mp4", tmp_path / "clips" / "deep" / "b.mp4"):
        assert "from the store" in run("ground", video, "square").output


def test_sound_that_browsers_do_not_play_is_encoded_anew(inside: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "wav.mkv", moving_square(20), sound="pcm_s16le")
    run("ground", source, "square", "--overlay", tmp_path / "o.mp4", "--store", tmp_path / "s.zarr")
    with av.open(str(tmp_path / "o.mp4")) as drawn:
        (audio,) = drawn.streams.audio
        assert audio.codec_context.name == "aac"
        assert audio.duration is not None
        assert audio.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(2.0, abs=0.1)


def test_ground_says_that_a_video_is_cut_short(inside: Path, tmp_path: Path) -> None:
    cut = write_video(tmp_path / "cut.mkv", moving_square(200), codec="ffv1", pixels="bgr0")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for _ in range(2):  # extracted, then from the store
        result = run("ground", cut, "square", "--json", tmp_path / "t.json", "--store", tmp_path / "s.zarr")
        assert "cut short or damaged there; took what came" in result.stderr
        assert "cut short" in json.loads((tmp_path / "t.json").read_text())["fault"]


def test_seconds_of_a_variable_rate_are_the_frames_own(inside: Path, tmp_path: Path) -> None:
    times_s = [0.1 * number if number < 10 else 1.0 + 0.5 * (number - 10) for number in range(20)]
    source = write_video(tmp_path / "phone.mp4", moving_square(20), times_s=times_s)
    run("ground", source, "square", "--json", tmp_path / "t.json", "--overlay", tmp_path / "o.mp4", "--store",
        tmp_path / "s.zarr")  # fmt: skip
    found = json.loads((tmp_path / "t.json").read_text())
    start, end = found["span"]["start_frame"], found["span"]["end_frame"]
    assert found["span"]["start_s"] == pytest.approx(times_s[start], abs=1e-3)
    assert [box["s"] for box in found["boxes"]] == pytest.approx(times_s[start:end], abs=1e-3)
    with av.open(str(tmp_path / "o.mp4")) as drawn:
        assert [frame.time for frame in drawn.decode(video=0)] == pytest.approx(times_s, abs=1e-3)


def test_a_default_store_that_does_not_fit_is_in_nobody_s_way(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("features", "clips/a.mp4", "--store", "other.zarr", "--set", "extract.clip_stride=8")
    (inside / "no.zarr").mkdir(exist_ok=True)
    (inside / "no.zarr" / "zarr.json").write_text("{")
    for spare in ("other.zarr", "no.zarr"):
        monkeypatch.setenv("GKCMN_PATHS_STORE", spare)
        assert "features extracted" in run("ground", "clips/a.mp4", "square").output
    labels = write_index_lines(tmp_path / "l.jsonl", [square_sample("a.mp4", "the square", (2, 9))])
    prepare = ("prepare", "plain", labels, "--videos", "clips", "--out", tmp_path / "i.parquet")
    assert "1 samples" in run(*prepare).output
    assert "not a" in run(*prepare, "--store", "no.zarr", code=1).stderr
    result = run("ground", "clips/a.mp4", "square", "--store", "other.zarr", code=1)
    assert "another clip_stride" in result.stderr


# Interruption


def start(*args: object) -> "subprocess.Popen[bytes]":
    """Start a command that signals reach, whatever the tests themselves were told to ignore."""

    def listen() -> None:
        os.setsid()  # a group of its own, as a terminal gives it
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    command = [*COMMAND, *(str(arg) for arg in args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=listen)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_interrupted_features_are_completed(inside: Path, tmp_path: Path, number: signal.Signals) -> None:
    place = tmp_path / "s.zarr"
    process = start("features", "clips", "--store", place, "--set", "extract.batch_clips=1")
    wait_for(lambda: any((place / "videos" / "a.mp4").glob("*/i3d")), process)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in log
    before = set(FeatureStore.open(place).keys())
    assert "deep/b.mp4" not in before
    run("features", "clips", "--store", place)
    whole, done = FeatureStore.open("data/features.zarr"), FeatureStore.open(place)
    for key in ("a.mp4", "deep/b.mp4"):
        # The batch's size may turn the last bit of a float16.
        assert np.allclose(whole.read(key).i3d, done.read(key).i3d, atol=2e-3, rtol=2e-3)


def test_ctrl_c_at_a_terminal_ends_every_worker_with_one_line(inside: Path, tmp_path: Path) -> None:
    place = tmp_path / "s.zarr"
    process = start("features", "clips", "--store", place, "--workers", "2", "--set", "extract.batch_clips=1")
    wait_for(lambda: any(place.glob("videos/**/i3d")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert log.splitlines() == [b"Interrupted. What was finished is kept; the same command goes on or begins again."]
    # One or both may have been finished meanwhile: they are short.
    again = run("features", "clips", "--store", place, "--workers", "2").output
    assert re.search("(2 videos done .* 0|1 videos done .* 1|0 videos done .* 2) there already, 0 failed", again)
    assert "2 videos, 0 faulty" in run("verify", place).output


def test_a_link_that_leads_nowhere_fails_alone_and_is_tried_again(inside: Path, tmp_path: Path) -> None:
    video, link = tmp_path / "elsewhere" / "gone.mp4", tmp_path / "v" / "link.mp4"
    write_video(tmp_path / "v" / "good.mp4", moving_square(9))
    link.symlink_to(video)
    result = run("features", tmp_path / "v", "--store", tmp_path / "s.zarr", code=1)
    assert f"Failed: {link}: is a link that leads nowhere ({video}); mend or remove it" in result.stderr
    assert "1 videos done (2 clips), 0 there already, 1 failed" in result.output
    write_video(video, moving_square(9))
    assert "1 videos done" in run("features", "--retry-failed", "--store", tmp_path / "s.zarr").output
    assert sorted(FeatureStore.open(tmp_path / "s.zarr").keys()) == ["good.mp4", "link.mp4"]


def test_a_name_never_breaks_a_line(inside: Path, tmp_path: Path) -> None:
    name = "new\nline \x1b[31m.mp4"
    write_video(tmp_path / name, moving_square(9))
    place = ("--store", tmp_path / "s.zarr")
    assert "new\\nline \\x1b[31m.mp4: 2 clips\n" in run("features", tmp_path / name, *place).stderr
    for text in (run("inspect", tmp_path / "s.zarr").output, run("inspect", tmp_path / "s.zarr", name).output):
        assert "new\\nline \\x1b[31m.mp4" in text
    (tmp_path / "\n.mp4").write_text("no video")
    assert "/\\n.mp4: not a video" in run("features", tmp_path / "\n.mp4", *place, code=1).stderr
    assert "/\\n.mp4: not a video" in run("ground", tmp_path / "\n.mp4", "square", *place, code=1).stderr


def test_names_in_brackets_are_shown(inside: Path, tmp_path: Path) -> None:
    name = "a [b] [c].mp4"
    write_video(tmp_path / name, moving_square(9))
    run("features", tmp_path / name, "--store", tmp_path / "s.zarr")
    assert name in run("inspect", tmp_path / "s.zarr").output
    assert name in run("inspect", tmp_path / "s.zarr", name).output


def test_names_of_any_bytes_work_everywhere(inside: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b":dog: [red] caf\xe9\x1b[31m")
    shown, key = r":dog: [red] caf\xe9\x1b[31m", ":dog: [red] caf%E9\x1b[31m"
    folder = tmp_path / name
    folder.mkdir()
    write_video(tmp_path / "a.mp4", moving_square(9)).rename(folder / f"{name}.mp4")
    place = ("--store", folder / "s.zarr")
    assert f"failed -> {tmp_path}/{shown}/s.zarr" in run("features", folder / f"{name}.mp4", *place).output
    assert "1 videos, 0 faulty" in run("verify", folder / "s.zarr").output
    assert ":dog: [red] caf%E9" in run("inspect", folder / "s.zarr").output
    assert ":dog: [red] caf%E9" in run("inspect", folder / "s.zarr", f"{key}.mp4").output
    shutil.copytree("runs/latest", folder / "run")
    out, drawn = folder / f"{name}.json", folder / f"{name} 12:30.mp4"
    told = run("ground", folder / f"{name}.mp4", "the :dog:", *place, "--checkpoint", folder / "run",
               "--json", out, "--overlay", drawn).output  # fmt: skip
    assert f"tube -> {tmp_path}/{shown}/{shown}.json\noverlay -> {tmp_path}/{shown}/{shown} 12:30.mp4" in told
    assert "from the store" in told
    assert json.loads(out.read_text())["video"].endswith(f"/{key}.mp4")
    assert drawn.is_file()
    shutil.copy("data/index.parquet", folder / "i.parquet")
    run("train", folder / "i.parquet", "--out", folder / "run", "--epochs", 2, *SMALL_MODEL)
    told = run("evaluate", folder / "run", folder / "i.parquet").output
    assert f"-> {tmp_path}/{shown}/run/evaluation" in told


def test_interrupted_training_ends_as_if_it_had_not_been(inside: Path, tmp_path: Path) -> None:
    args = ["--epochs", "4", "--device", "cpu", *SMALL_MODEL, "--set", "train.batch_size=2"]
    run("train", "--out", tmp_path / "whole", *args)
    process = start("train", "--out", tmp_path / "parts", *args)
    wait_for((tmp_path / "parts" / "model.safetensors").is_file, process)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in log
    run("train", "--out", tmp_path / "parts", *args)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert "has its 4 epochs already" in run("train", "--out", tmp_path / "parts", *args).output


# What goes wrong


def test_mistakes_are_one_line_each(inside: Path, tmp_path: Path) -> None:
    text, empty = tmp_path / "text.mp4", tmp_path / "empty"
    text.write_text("no video")
    empty.mkdir()
    absent = tmp_path / "absent"
    cases: list[tuple[tuple[object, ...], str]] = [
        (("features", absent), f"{absent}: no such file"),
        (("train", "x" * 300), "no index of labelled samples"),
        (("ground", "clips/a.mp4", "square", "--json", "x" * 300), "cannot be looked at"),
        (("features", empty), f"{empty}: no video in this folder"),
        (("features", "clips", "--store", text), f"{text}: is a file; a feature store is a folder"),
        (("features", "clips", "--store", "clips"), "clips: holds other files and no feature store; name another"),
        (("features", "clips", "--set", "extract.clip_stride=2"), "clip_stride is 4 there and 2 now"),
        (("features", "clips", "--weights", absent), f"{absent}: "),
        (("features", "clips", "--weights", text), f"{text}: "),
        (("train", "--set", "train.epoch=1"), "unknown key train.epoch"),
        (("train", absent), f"{absent}: no index"),
        (("train", "--store", absent), f"{absent}: no feature store; make one with: gkcmn-pipe features"),
        (
            ("train", "--set", "model.sigma=0.5", "--epochs", 2),
            "runs/latest: its run was begun otherwise (model.",
        ),
        (("train", "--device", "cuda:x"), "device 'cuda:x'"),
        (("evaluate", absent), f"{absent}: no checkpoint; train one with: gkcmn-pipe train"),
        (("ground", absent, "x"), f"{absent}: no such file"),
        (("ground", text, "x"), f"{text}: not a video"),
        (("ground", "clips/a.mp4", " "), "it has no words"),
        (("ground", "clips/a.mp4", "x", "--checkpoint", absent), f"{absent}: no checkpoint"),
        (("ground", "clips/a.mp4", "x", "--overlay", "clips/a.mp4"), "is the source video itself"),
        (("ground", "clips/a.mp4", "x", "--json", text / "t.json"), "cannot be written"),
        (("ground", "clips/a.mp4", "x", "--overlay", text / "o.mp4"), "cannot be written"),
        (("config", "--config", absent), f"{absent}: no such file"),
    ]
    for args, message in cases:
        result = run(*args, code=1)
        assert message in result.stderr, (args, result.stderr)
        assert ";" in result.stderr, result.stderr  # cause; remedy
    few = write_index_lines(tmp_path / "few.jsonl", [square_sample("a.mp4", "the square", (2, 9))])
    result = run("train", few, "--epochs", 2, *SMALL_MODEL, code=1)
    assert "its run was begun otherwise (the samples)" in result.stderr
    run("features", code=2)
    run("ground", "clips/a.mp4", code=2)


def test_one_broken_video_does_not_stop_the_others(inside: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "v" / "good.mp4", moving_square(9))
    (tmp_path / "v" / "bad.mp4").write_text("no video")
    result = run("features", tmp_path / "v", "--store", tmp_path / "s.zarr", code=1)
    assert "bad.mp4: not a video" in result.stderr
    assert "1 videos done (2 clips), 0 there already, 1 failed" in result.output
    assert list(FeatureStore.open(tmp_path / "s.zarr").keys()) == ["good.mp4"]
    output = run("inspect", tmp_path / "s.zarr").output
    assert "1 videos" in output
    assert "not a video" in output
    assert (
        "0 videos done (0 clips), 0 there already, 1 failed"
        in run("features", "--retry-failed", "--store", tmp_path / "s.zarr", code=1).output
    )
    write_video(tmp_path / "v" / "bad.mp4", moving_square(9))
    assert "1 videos done (2 clips)" in run("features", "--retry-failed", "--store", tmp_path / "s.zarr").output
    assert "keeps no failure" in run("features", "--retry-failed", "--store", tmp_path / "s.zarr", code=1).stderr


def test_verify_and_inspect(inside: Path, tmp_path: Path) -> None:
    place = shutil.copytree("data/features.zarr", tmp_path / "s.zarr")
    assert run("verify", place).output == "2 videos, 0 faulty\n"
    shard = next(path for path in (place / "videos" / "a.mp4").glob("*/i3d/c/0/**/*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-9])
    result = CliRunner().invoke(main, ["verify", str(place)])
    assert result.exit_code == 1  # the fault is a result, on standard output
    assert "a.mp4: " in result.output
    assert "1 faulty, 1 removed; run the same" in run("verify", place, "--repair").output
    assert run("verify", place).output == "1 videos, 0 faulty\n"
    assert "1 videos done" in run("features", "clips", "--store", place).output
    output = run("inspect", place, "a.mp4", "--picture", tmp_path / "a.png").output
    assert "64" in output
    assert (tmp_path / "a.png").is_file()
    assert "deviation" in run("inspect", place, "--stats").output
    run("inspect", place, "--picture", tmp_path / "a.png", code=2)
    assert "holds no video" in run("inspect", place, "x.mp4", code=1).stderr


def test_another_video_under_the_same_key_is_refused_and_a_changed_one_redone(inside: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    one = write_video(tmp_path / "1" / "x.mp4", moving_square(9))
    other = write_video(tmp_path / "2" / "x.mp4", moving_square(17))
    run("features", one, "--store", store)
    assert "another video" in run("features", other, "--store", store, code=1).stderr
    assert "another video" in run("features", other, "--store", store, "--strict", code=1).stderr
    other.replace(one)
    assert "1 videos done (4 clips)" in run("features", one, "--store", store).output


def test_checkpoints_of_another_version_or_other_features(inside: Path, tmp_path: Path) -> None:
    path = Path("runs/latest/config.json")
    content = json.loads(path.read_text())
    del content["checksum"]  # as an earlier version wrote it
    old = tmp_path / "old"
    old.mkdir()
    for change, message in (
        ({"format": 99}, "checkpoint format 99"),
        ({"config": {"model": {"novel": 1}}}, "made by another version"),
        ({"features": {**content["features"], "clip_stride": 2}}, "another clip_stride"),
    ):
        (old / "config.json").write_text(json.dumps({**content, **change}))
        (old / "model.safetensors").write_bytes(Path("runs/latest/model.safetensors").read_bytes())
        assert message in run("evaluate", old, code=1).stderr
    (old / "config.json").write_text(path.read_text())
    (old / "model.safetensors").write_bytes(b"junk")
    assert "damaged" in run("evaluate", old, code=1).stderr
    assert "holds weights, and no training.pt" in run("train", "--out", old, *SMALL_MODEL, code=1).stderr


def test_one_process_trains_a_run(inside: Path) -> None:
    folder = os.open("runs/latest", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        assert "another process trains it" in run("train", "--epochs", 1, *SMALL_MODEL, code=1).stderr
    finally:
        os.close(folder)
    assert "has its 1 epochs already" in run("train", "--epochs", 1, *SMALL_MODEL).output


def test_two_workers_of_dask_give_the_same(inside: Path, tmp_path: Path) -> None:
    place = tmp_path / "s.zarr"
    for name in ("model", "random", "json", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the working folder')")
    clips = str(inside / "clips")
    subprocess.run([*COMMAND, "features", clips, "--store", str(place), "--workers", "2"], check=True, cwd=tmp_path)
    whole, spread = FeatureStore.open("data/features.zarr"), FeatureStore.open(place)
    for key in ("a.mp4", "deep/b.mp4"):
        assert np.allclose(whole.read(key).i3d, spread.read(key).i3d, atol=2e-3, rtol=2e-3)
