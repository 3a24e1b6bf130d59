"""Fuzz every command with hostile arguments and damaged files.

A command must succeed, fail with exit code 1 and a one-line error, or reject its arguments with exit code 2. It must
not change its inputs.

By default the tests try the same few examples each time. `pytest tests/test_fuzz.py --fuzz-seconds 60` tries random
examples for a minute per command line, and prints each kind of fault with its seed; `--fuzz-seed` repeats that seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cli import main
from extract.clips import plan_clips
from extract.records import Failure, VideoRecord
from extract.store.feature_store import FeatureStore
from extract.video.reader import source_digest
from pipeline.config import Config
from pipeline.errors import RenderError
from tests.hostile import READ_ONLY_TEXTS, TEXTS, Damage, copied, damages, numbers, one_error, texts
from tests.media import moving_square, square_sample, write_index_lines, write_video
from tests.test_cli import leaves

pytestmark = pytest.mark.slow

STORE = "data/features.zarr/*"
STRANGERS = ("labels/plain.jsonl", "clips/a.mp4", "gkcmn.toml", "vectors.txt", "lists/list.txt")
"""Files that no command wrote, used as option values; an output must not overwrite them."""
LONG_S = 20.0
"""Time limit in seconds; a command line that takes longer accepted a value that it should have rejected."""
ROOM_BYTES = 3 << 30
"""Address space in bytes beyond that of the test process; larger allocations fail."""
ENDLESS = {"train.epochs", "train.loader_workers"}
"""Settings for which large values are valid and take a long time."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A command line that succeeds in the workspace, with the files that it reads and those that it may change."""

    args: tuple[str, ...]
    reads: tuple[str, ...] = ()
    """Patterns of the files that the command reads; matching files are damaged."""
    writes: tuple[str, ...] = ()
    """Patterns of existing files that the command may change or remove."""
    examples: int = 6
    """Number of examples in a default run."""


CONFIG = ("gkcmn.toml",)
INDEX = ("data/index.parquet", "labels/plain.jsonl")
RUN = ("runs/latest/config.json", "runs/latest/model.safetensors")
LINES: tuple[Line, ...] = (
    Line(args=("config",), reads=CONFIG, examples=20),
    Line(args=("verify",), reads=(STORE,)),
    Line(args=("verify", "data/features.zarr", "--repair"), reads=(STORE,), writes=(STORE,)),
    Line(args=("inspect",), reads=(STORE, *CONFIG)),
    Line(args=("inspect", "--stats"), reads=(STORE,), examples=3),
    Line(args=("inspect", "data/features.zarr", "a.mp4", "--picture", "out/a.png"), reads=(STORE,), examples=3),
    Line(args=("text", "data/index.parquet"), reads=(*INDEX, STORE, "vectors.txt"), writes=(STORE,)),
    Line(args=("text", "labels/plain.jsonl"), reads=("labels/plain.jsonl", "vectors.txt"), writes=(STORE,)),
    Line(args=("score", "in/p.jsonl", "--json", "out/s.json"), reads=("in/p.jsonl", INDEX[0]), examples=12),
    Line(args=("score", "in/p.jsonl", INDEX[1], "--figure", "out/s.png"), reads=("in/p.jsonl",), examples=2),
    Line(args=("compare", "in/a.json", "in/b.json"), reads=("in/a.json", "in/b.json"), examples=12),
    Line(
        args=("prepare", "vidstg", "labels/test_vidstg.json", "--boxes", "labels/vidor", "--out", "out/i.parquet"),
        reads=("labels/test_vidstg.json", "labels/vidor/*.json"),
        writes=("data/index*",),
        examples=12,
    ),
    Line(
        args=("prepare", "hcstvg", "labels/train_hcstvg.json", "--out", "out/i.parquet"),
        reads=("labels/train_hcstvg.json",),
        writes=("data/index*",),
        examples=9,
    ),
    Line(
        args=("prepare", "plain", "labels/plain.jsonl", "--videos", "clips", "--store", "data/features.zarr",
              "--out", "data/index.parquet"),
        reads=("labels/plain.jsonl", STORE, "data/index.videos.json", *CONFIG),
        writes=("data/index*",),
        examples=9,
    ),
    Line(
        args=("train", "--epochs", "2"),
        reads=(*INDEX, STORE, "runs/latest/*", "vectors.txt", *CONFIG),
        writes=(STORE, "runs/*"),
        examples=9,
    ),
    Line(
        args=("evaluate", "runs/latest", "data/index.parquet"),
        reads=(*INDEX, STORE, *RUN, "vectors.txt", *CONFIG),
        writes=(STORE, "runs/*/evaluation/*"),
        examples=6,
    ),
    Line(
        args=("ground", "clips/a.mp4", "the red square", "--checkpoint", "runs/latest", "--json", "out/t.json"),
        reads=(STORE, *RUN, "vectors.txt", *CONFIG),
        writes=(STORE,),
        examples=8,
    ),
    Line(
        args=("ground", "clips/a.mp4", "a square", "--overlay", "out/o.mp4"),
        reads=("clips/a.mp4",),
        writes=(STORE,),
        examples=2,
    ),
    Line(args=("features", "clips"), reads=("clips/a.mp4", STORE), writes=(STORE,), examples=3),
    Line(args=("features", "lists/list.txt"), reads=("lists/list.txt",), writes=(STORE,), examples=4),
    Line(args=("features", "--retry-failed"), reads=(STORE,), writes=(STORE,), examples=2),
    Line(
        args=("features", "clips", "--store", "out/new.zarr", "--weights", "weights.pt"), reads=("weights.pt",),
        examples=3,
    ),
    Line(
        args=("synth", "drawn", "--videos", "1"),
        reads=("drawn/synth.json", "drawn/labels/*"),
        writes=("drawn/index.parquet",),
        examples=9,
    ),
    Line(
        args=("reproduce", "table1", "--out", "out/r", "--cache", "out/cache", "--device", "cpu", "--workers", "1"),
        examples=4,
    ),
)  # fmt: skip


def test_every_command_is_fuzzed() -> None:
    assert {names_of(line) for line in LINES} == set(leaves(main))


# The workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Create a workspace with a small valid file of every kind; the cache and home folders are next to it."""
    base = tmp_path_factory.mktemp("fuzz")
    before, kept = Path.cwd(), dict(os.environ)
    (base / "cache" / "gkcmn-pipe").mkdir(parents=True)
    for real in cached_weights():
        (base / "cache" / "gkcmn-pipe" / real.name).symlink_to(real)
    os.environ |= {
        "XDG_CACHE_HOME": str(base / "cache"),
        "TORCH_HOME": str(base / "torch"),
        "HOME": str(base / "home"),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
    }
    room = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, room[1]))
    try:
        yield make_workspace(base / "valid")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, room)
        os.chdir(before)
        os.environ.clear()
        os.environ.update(kept)


def cached_weights() -> list[Path]:
    """Return the cached files of the backbone's weights; converting them again would take each command seconds."""
    from extract.extraction import shared_backbone
    from extract.io.files import cache_folder

    shared_backbone("inception", None, "cpu")
    return sorted(cache_folder().glob("*.safetensors"))


def make_workspace(root: Path) -> Path:
    """Create the files that `LINES` use, with the commands that normally write them if there are any."""
    from extract.config import ExtractConfig
    from extract.extraction import shared_backbone, store_settings

    root.mkdir()
    os.chdir(root)
    for folder in ("clips", "labels/vidor", "lists", "in", "out"):
        (root / folder).mkdir(parents=True)
    write_video(root / "clips/a.mp4", moving_square(12))
    (root / "lists/list.txt").write_text("../clips/a.mp4\n")
    (root / "vectors.txt").write_text("".join(f"{word} {n}.5 -1 0.25 {n}\n" for n, word in enumerate(WORDS)))
    (root / "weights.pt").write_bytes(b"no weights")
    (root / "gkcmn.toml").write_text(SETTINGS)
    store = FeatureStore.open_for(
        "data/features.zarr", store_settings(ExtractConfig(), shared_backbone("inception", None, "cpu"))
    )
    for number, key in enumerate(("a.mp4", "b.mp4")):
        write_features(store, key, digest=source_digest(Path("clips/a.mp4")) if number == 0 else "0" * 64)
    store.note_failure(Failure(key="c.mp4", source=str(root / "clips/c.mp4"), stage="decode", cause="c", remedy="r"))
    samples = [
        square_sample("a.mp4", "the red square moves", (2, 9), split="train"),
        square_sample("a.mp4", "what moves?", (0, 12), kind="interrogative", split="train"),
        square_sample("b.mp4", "a square", (1, 5), split="test", id="x", segment=[0, 8]),
    ]
    write_index_lines(root / "labels/plain.jsonl", samples)
    (root / "labels/test_vidstg.json").write_text(json.dumps([VIDSTG]))
    (root / "labels/vidor/a.json").write_text(json.dumps({"trajectories": [[VIDOR]] * 12}))
    (root / "labels/train_hcstvg.json").write_text(json.dumps({"a.mp4": HCSTVG}))
    predictions: list[dict[str, Any]] = [
        {"id": "1", "span": [2, 4], "boxes": [[1, 2, 30, 40]] * 2},
        {"id": "2", "span": [0, 9], "boxes": {"0": [1, 2, 30, 40], "8": [1, 2, 30, 40]}},
        {"id": "x", "span": [1, 5]},
    ]
    write_index_lines(root / "in/p.jsonl", predictions)
    write_video(root / "drawn/videos/train/0000.mp4", moving_square(8))
    label = square_sample("train/0000.mp4", "it moves", (1, 5), id="t", kind="declarative", split="train")
    (root / "drawn/labels/train").mkdir(parents=True)
    (root / "drawn/labels/train/0000.json").write_text(json.dumps([{**label, "frame_count": 8, "fps": 10.0}]))
    for more in (("--videos", "clips"), ()):  # with --videos, facts about them are cached too
        works("prepare", "plain", "labels/plain.jsonl", "--out", "data/index.parquet", *more)
    works("train", "--epochs", "1")
    works("score", "in/p.jsonl", "--json", "in/a.json")
    works("score", "in/p.jsonl", "--json", "in/b.json")
    write_mark(root / "drawn")
    os.chdir(copied(root, root.parent / "work"))
    for line in LINES:
        if line.args[0] not in ("reproduce", "features"):
            works(*line.args)
    return root


WORDS = ("the", "red", "square", "moves", "what", "a", "it", "to")
SETTINGS = """\
device = "cpu"
[extract]
vectors = "vectors.txt"
decode_timeout_s = 20
[model]
fused_width = 8
visual_width = 4
sentence_width = 8
max_steps = 16
[train]
batch_size = 2
learning_rate = 0.001
"""
VIDSTG: dict[str, Any] = {
    "vid": "a", "frame_count": 12, "fps": 10.0, "width": 64, "height": 48,
    "used_segment": {"begin_fid": 0, "end_fid": 11}, "temporal_gt": {"begin_fid": 2, "end_fid": 9},
    "captions": [{"description": "the square moves", "target_id": 0}],
    "questions": [{"description": "what moves?", "target_id": 0}],
}  # fmt: skip
VIDOR = {"tid": 0, "bbox": {"xmin": 3, "ymin": 4, "xmax": 30, "ymax": 40}}
HCSTVG: dict[str, Any] = {
    "bbox": [[3, 4, 20, 20]] * 5, "st_frame": 2, "caption": "a man runs", "img_num": 12, "width": 64, "height": 48,
}  # fmt: skip


def write_features(store: FeatureStore, key: str, *, digest: str) -> None:
    """Write random features of 12 frames with 4 channels, without running a backbone."""
    record = VideoRecord(
        key=key, source=f"/v/{key}", source_digest=digest, width=64, height=48, fps=10.0, frame_count=12,
        duration_s=1.2, decoder="decord2 3",
    )  # fmt: skip
    with store.write(key, channels=4) as writer:
        writer.append(np.random.default_rng(0).random((2, 4, 7, 7), dtype=np.float32))
        writer.finish(record, clip_frames=plan_clips(12, length=8, stride=4), frame_times=np.arange(13) / 10)


def write_mark(drawn: Path) -> None:
    """Mark a folder as the output of `synth`, so that `synth` has nothing left to render."""
    from pipeline.synth import generate as synth

    synth._claim(drawn.parent / "marked", 0, "small", 12, videos=(), force=False)
    (drawn.parent / "marked" / "synth.json").rename(drawn / "synth.json")


def works(*args: str) -> None:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == 0, (args, result.output, result.exception)


# The examples


@dataclass(frozen=True, kw_only=True)
class Example:
    """One hostile command line."""

    args: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    damages: tuple[Damage, ...] = ()

    def __str__(self) -> str:
        words = [*(f"{key}={value!r}" for key, value in self.environment), *(ascii(arg)[:80] for arg in self.args)]
        return " ".join([*words, *map(str, self.damages)])


def names_of(line: Line) -> tuple[str, ...]:
    """Return the words that name the command, without its arguments."""
    return line.args[:2] if isinstance(main.commands[line.args[0]], click.Group) else line.args[:1]


def command_of(line: Line) -> click.Command:
    command: click.Command = main
    for name in names_of(line):
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def setting_keys() -> list[str]:
    """Return every dotted key of the configuration, except those in `ENDLESS`."""
    config, keys = Config(), []
    for item in fields(config):
        part = getattr(config, item.name)
        keys += [f"{item.name}.{inner.name}" for inner in fields(part)] if is_dataclass(part) else [item.name]
    return [key for key in keys if key not in ENDLESS]


def value_for(param: click.Parameter) -> st.SearchStrategy[str]:
    """Return a strategy for hostile values of one option or argument."""
    name = param.name
    if name == "epochs":
        return st.sampled_from(("0", "-1", "x", "", "nan", "1.5", "9" * 30 + "x"))
    if name == "workers":
        return st.sampled_from(("1", "0", "-1", "x", "", "nan", "9" * 30, "100000"))
    if name == "scheduler":
        return st.sampled_from(("", "://", "[", "unknown://x", "a\nb"))
    if name == "assignments":
        keys = st.sampled_from(setting_keys())
        return st.one_of(texts, st.builds("{}={}".format, keys, st.one_of(st.sampled_from(TEXTS), numbers)))
    if isinstance(param.type, click.Path) or name in ("store", "place", "weights", "paths"):
        is_output = name in ("out", "run", "json_file", "figure", "overlay", "picture", "cache", "store")
        more = STRANGERS if is_output else (*STRANGERS, *READ_ONLY_TEXTS)
        return st.one_of(texts, st.sampled_from(more))
    return st.one_of(texts, numbers)


def hostile_arguments(line: Line) -> st.SearchStrategy[tuple[str, ...]]:
    """Return a strategy for the command line with one word replaced, or with one or two options added."""
    params = [param for param in command_of(line).params if param.name != "help"]
    options = [param for param in params if isinstance(param, click.Option)]
    count = len(names_of(line))

    def words(option: click.Option) -> st.SearchStrategy[tuple[str, ...]]:
        if option.is_flag:
            return st.just((option.opts[0],))
        value = value_for(option)
        name = option.opts[0]
        return st.one_of(value.map(lambda text: (name, text)), value.map(lambda text: (f"{name}={text}",)))

    def replaced(place: int) -> st.SearchStrategy[tuple[str, ...]]:
        before = line.args[place - 1]
        param = next((option for option in options if before in option.opts), None)
        values = value_for(param) if param is not None else argument_values(line, params, place)
        return values.map(lambda text: (*line.args[:place], text, *line.args[place + 1 :]))

    added = st.lists(st.sampled_from(options).flatmap(words), min_size=1, max_size=2).map(
        lambda parts: (*line.args, *(word for part in parts for word in part))
    ) if options else st.just(line.args)  # fmt: skip
    places = range(count, len(line.args))
    return st.one_of(added, st.sampled_from(places).flatmap(replaced)) if places else added


def argument_values(line: Line, params: list[click.Parameter], place: int) -> st.SearchStrategy[str]:
    """Return a strategy for values that replace a word which is not an option's value."""
    if line.args[place].startswith("--"):
        return texts
    before = [word for word in line.args[len(names_of(line)) : place] if not word.startswith("--")]
    arguments = [param for param in params if isinstance(param, click.Argument)]
    return value_for(arguments[min(len(before), len(arguments) - 1)]) if arguments else texts


def environments() -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Return a strategy for environment variables that set configuration values, and for some without a meaning."""
    keys = [f"GKCMN_{key.replace('.', '_').upper()}" for key in setting_keys() if not key.startswith("paths.")]
    values = st.sampled_from([text for text in TEXTS if "\0" not in text and "\ud800" not in text])
    pairs = st.tuples(st.sampled_from((*keys, "GKCMN_CONFIG", "GKCMN_")), values)
    return st.lists(pairs, max_size=1).map(tuple)


def examples(line: Line, files: list[str]) -> st.SearchStrategy[Example]:
    """Return a strategy for examples with hostile arguments, damaged files, or both."""
    damaged = st.lists(damages(files), min_size=1, max_size=2).map(tuple) if files else st.just(())
    choices = [
        st.builds(Example, args=hostile_arguments(line), environment=environments()),
        st.builds(Example, args=st.just(line.args), damages=damaged),
        st.builds(Example, args=st.just(line.args), damages=damaged),
        st.builds(Example, args=hostile_arguments(line), damages=damaged),
    ]
    return st.one_of(choices)


# Checks


def hashes(root: Path, line: Line, example: Example) -> dict[str, str]:
    """Return the SHA-256 of each file that the command line must not change; empty with `--force`."""
    if "--force" in example.args:
        return {}
    writes = (*line.writes, STORE) if "--repair" in example.args else line.writes
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in found.items()
        if not any(fnmatch(name, pattern) for pattern in writes)
    }


def fault(line: Line, example: Example, root: Path) -> str | None:
    """Run an example and return a description of its fault, or None if it behaved correctly."""
    for damage in example.damages:
        damage.apply(root)
    before = hashes(root, line, example)
    os.chdir(root)
    begun = time.monotonic()
    result = CliRunner().invoke(main, list(example.args), env=dict(example.environment))
    seconds = time.monotonic() - begun
    forget_memory_stores()
    after = hashes(root, line, example)
    changed = sorted(name for name, digest in before.items() if after.get(name, digest) != digest)
    gone = sorted(set(before) - set(after))
    if "this is a bug" in result.output:
        return f"bug: {where_it_arose(result.output)}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"exception {result.exception!r}"
    if "Traceback (most recent" in result.output:
        return f"traceback: {result.output[-600:]}"
    if result.exit_code not in (0, 1, 2):
        return f"exit code {result.exit_code}: {result.output[-300:]}"
    if result.exit_code == 1 and not is_told(line, result):
        return f"exit code 1, told otherwise: {result.stderr[-300:]!r}"
    if changed or gone:
        return f"changed {changed}, removed {gone}, exit code {result.exit_code}"
    return f"took {seconds:.0f} s" if seconds > LONG_S else None


def is_told(line: Line, result: Result) -> bool:
    """Return whether a failure has a one-line message; damage that `verify` lists on standard output also counts."""
    if line.args[0] == "verify" and re.search(r"\d+ videos?, \d+ faulty", result.stdout):
        return True
    failed = [text for text in result.stderr.splitlines() if text.startswith("Failed: ")]
    if line.args[0] == "features" and failed:
        return "Error: " not in result.stderr
    return one_error(result.stderr)


def kind_of(what: str) -> str:
    """Return a key for grouping faults: the place of the error, or the text without names and numbers."""
    if (found := re.match(r"bug: (\w+).*( at \S+)", what)) is not None:
        return found[1] + found[2]
    return re.sub(r"'[^']*'|\d+", "#", what)[:200]


def where_it_arose(output: str) -> str:
    """Return the error of a crash report and the last three traceback locations in this project's code."""
    text = " ".join(output.split())
    found = re.search(r"the traceback is in (\S+?);", text)
    if found is None:
        return text[-300:]
    report = Path(found[1]).read_text(encoding="utf-8")
    ours = re.findall(r'File ".*?/((?:extract|model|pipeline)/\S+|cli)\.py", line (\d+)', report)
    last = [line for line in report.splitlines() if re.match(r"[A-Za-z_.]+(Error|Exception|Warning|Panic\w*)\b", line)]
    return f"{(last or ['?'])[-1][:160]} at {' < '.join(f'{name}.py:{number}' for name, number in ours[::-1][:3])}"


def forget_memory_stores() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.args[:3]))
def test_hostile_command_lines_end_with_one_line(
    line: Line, workspace: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def cannot_draw(*_: object, **__: object) -> str:
        raise RenderError("no video: drawing is not what is tested; draw elsewhere")

    monkeypatch.setattr("pipeline.synth.generate.draw_video", cannot_draw)
    found = [str(path.relative_to(workspace)) for path in sorted(workspace.rglob("*")) if path.is_file()]
    files = [name for pattern in line.reads for name in found if fnmatch(name, pattern)]
    assert files or not line.reads
    faults: dict[str, str] = {}
    tried = 0

    def attempt(example: Example) -> None:
        nonlocal tried
        tried += 1
        root = copied(workspace, workspace.parent / "work")
        if (what := fault(line, example, root)) is not None:
            faults.setdefault(kind_of(what), f"{what}\n    {example}")

    def attempt_all(number: int | None) -> None:
        """Try the examples of a seed; None tries the same examples in each run."""
        profile = settings(
            max_examples=line.examples, deadline=None, derandomize=number is None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run = profile(given(examples(line, files))(attempt))
        if number is not None:
            run = seed(number)(run)
        run()

    seconds, given_seed = request.config.getoption("fuzz_seconds"), request.config.getoption("fuzz_seed")
    end = time.monotonic() + seconds
    if not seconds or given_seed is not None:
        attempt_all(given_seed)
    while time.monotonic() < end:
        number, known = secrets.randbits(32), len(faults)
        attempt_all(number)
        for kind in list(faults)[known:]:
            faults[kind] += f"\n    --fuzz-seed {number}"
    print(f"{tried} examples")
    if faults:
        pytest.fail("\n".join([f"{len(faults)} kinds of fault", *faults.values()]), pytrace=False)
