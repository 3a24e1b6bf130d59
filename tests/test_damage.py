"""Damaged files: each command either gives the same result as before, or fails with a one-line error and exit code 1.

`GKCMN_DAMAGE_FLIPS=40 pytest tests/test_damage.py` flips 40 bits of each file and tries every truncation. Without the
variable, two ways to damage one file of each kind are chosen with a fixed seed.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from cli import main
from extract.clips import plan_clips
from extract.records import Failure, VideoRecord
from extract.store.feature_store import CLIPS_PER_SHARD, FeatureStore
from pipeline.data.index import read_index, write_index
from tests.damage import Harm, harms_of_file, harms_of_folder
from tests.media import square_sample, write_index_lines

pytestmark = pytest.mark.slow

FLIPS = int(os.environ.get("GKCMN_DAMAGE_FLIPS", "0"))
SETTINGS = {
    "backbone": "inception",
    "weights_sha256": "w",
    "preprocessing": "RGB",
    "picture_size": 224,
    "clip_length": 8,
    "clip_stride": 4,
}
VECTORS = ["--set", "extract.vectors=vectors.txt"]
SMALL_MODEL = [
    word
    for setting in ("model.fused_width=16", "model.visual_width=8", "model.sentence_width=16")
    for word in ("--set", setting)
]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Files or folders with the same kind of content."""

    glob: str
    """Pattern relative to the folder with all files; a pattern for folders ends in a slash."""
    is_in_store: bool = True
    """Whether `verify` checks it."""
    is_known: bool = True
    """Whether other data in the store refers to it, so that `verify` can detect that it is missing."""


KINDS = [
    Kind(glob="s.zarr/zarr.json"),
    Kind(glob="s.zarr/*/zarr.json"),
    Kind(glob="s.zarr/videos/*/zarr.json"),
    Kind(glob="s.zarr/videos/*/*/zarr.json"),
    Kind(glob="s.zarr/videos/*/*/*/zarr.json"),
    Kind(glob="s.zarr/videos/*/*/i3d/c/**/0"),
    Kind(glob="s.zarr/videos/*/*/clip_frames/c/**/0"),
    Kind(glob="s.zarr/videos/*/*/frame_times/c/**/0"),
    Kind(glob="s.zarr/failures/*/zarr.json"),
    Kind(glob="s.zarr/text/*/zarr.json"),
    Kind(glob="s.zarr/text/*/*/zarr.json"),
    Kind(glob="s.zarr/text/*/*/*/zarr.json"),
    Kind(glob="s.zarr/text/*/*/*/c/**/0"),
    Kind(glob="s.zarr/videos/"),
    Kind(glob="s.zarr/videos/*/", is_known=False),
    Kind(glob="s.zarr/videos/*/*/"),
    Kind(glob="s.zarr/videos/*/*/*/"),
    Kind(glob="s.zarr/videos/*/*/*/c/"),
    Kind(glob="s.zarr/failures/"),
    Kind(glob="s.zarr/failures/*/", is_known=False),
    Kind(glob="s.zarr/text/", is_known=False),
    Kind(glob="s.zarr/text/*/", is_known=False),
    Kind(glob="s.zarr/text/*/*/"),
    Kind(glob="s.zarr/text/*/*/*/"),
    Kind(glob="index.parquet", is_in_store=False),
]
"""Kinds of files and folders to damage. Kinds that are not listed are not tested."""


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary cache folder for parsed word vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create undamaged files: a store of two videos, an index, word vectors and a run of one epoch."""
    root = tmp_path_factory.mktemp("sound")
    store = FeatureStore.open_for(root / "s.zarr", SETTINGS)
    for seed, (key, clips) in enumerate({"a.mp4": CLIPS_PER_SHARD + 2, "deep/b.mp4": 5}.items()):
        frames = 4 + 4 * clips
        record = VideoRecord(
            key=key, source=f"/v/{key}", source_digest="d", width=64, height=48, fps=30.0,
            frame_count=frames, duration_s=frames / 30, decoder="decord2 3",
        )  # fmt: skip
        with store.write(key, channels=4) as writer:
            writer.append(np.random.default_rng(seed).random((clips, 4, 7, 7), dtype=np.float32))
            ranges = plan_clips(frames, length=8, stride=4)
            writer.finish(record, clip_frames=ranges, frame_times=np.arange(frames + 1) / 30)
    store.note_failure(Failure(key="c.mp4", source="/v/c.mp4", stage="decode", cause="cut short", remedy="copy it"))
    lines = [
        square_sample("a.mp4", "the red square moves", (8, 24), id="1"),
        square_sample("deep/b.mp4", "a qzxqzx square", (4, 16), id="2"),
    ]
    write_index(root / "index.parquet", read_index(write_index_lines(root / "lines.jsonl", lines)))
    (root / "lines.jsonl").unlink()
    words = ["the", "red", "square", "moves", "a"]
    numbers = np.random.default_rng(0).normal(size=(len(words), 4)).round(3)
    rows = zip(words, numbers.tolist(), strict=True)
    (root / "vectors.txt").write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows))
    assert command(root, *TRAIN, "--out", "run").exit_code == 0
    return root


def command(root: Path, *words: str) -> Result:
    """Run a command in the folder `root`, which contains all files."""
    before = Path.cwd()
    os.chdir(root)
    try:
        return CliRunner().invoke(main, words)
    finally:
        os.chdir(before)


STORE = ["--store", "s.zarr"]
TRAIN = ["train", "index.parquet", *STORE, "--epochs", "1", "--device", "cpu", *VECTORS, *SMALL_MODEL]


def evaluated(root: Path) -> tuple[Result, object]:
    result = command(root, "evaluate", "run", "index.parquet", *STORE, "--device", "cpu", "--out", "scores")
    files = [root / "scores" / name for name in ("predictions.jsonl", "scores.json")]
    return result, [file.read_text() for file in files] if result.exit_code == 0 else None


def trained(root: Path) -> tuple[Result, object]:
    result = command(root, *TRAIN, "--out", "again")
    if result.exit_code != 0:
        return result, None
    # The metadata contains a name that differs between runs, so compare only the weights.
    weights = load_file(root / "again" / "model.safetensors")
    return result, {name: weight.tobytes() for name, weight in weights.items()}


def printed(*words: str) -> Callable[[Path], tuple[Result, object]]:
    def run(root: Path) -> tuple[Result, object]:
        result = command(root, *words)
        return result, result.stdout

    return run


OTHERS: dict[str, Callable[[Path], tuple[Result, object]]] = {
    "inspect": printed("inspect", "s.zarr"),
    "inspect a video": printed("inspect", "s.zarr", "a.mp4", "--picture", "a.png"),
    "train": trained,
    "inspect --stats": printed("inspect", "s.zarr", "--stats"),
    "text": printed("text", "index.parquet", *STORE, *VECTORS),
    "inspect the other video": printed("inspect", "s.zarr", "deep/b.mp4"),
}


def chosen(sound: Path) -> Iterator[tuple[Kind, Harm]]:
    """Yield ways to damage files: two for one file of each kind, or all for every file if `FLIPS` is set."""
    for kind in KINDS:
        found = sorted(sound.glob(kind.glob))
        paths = [path.relative_to(sound) for path in found if path.is_dir() == kind.glob.endswith("/")]
        assert paths, kind
        rng = random.Random(f"{kind.glob} {len(paths)}")  # the paths contain version names that differ between runs
        for path in paths if FLIPS else [rng.choice(paths)]:
            if kind.glob.endswith("/"):
                harms = list(harms_of_folder(path))
            else:
                harms = list(harms_of_file(sound, path, flips=FLIPS or 2, seed=len(path.parts)))
                harms = harms if FLIPS else rng.sample(harms, 2)
            yield from ((kind, harm) for harm in harms)


def is_one_line(result: Result) -> bool:
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Warning: ")]
    return (
        result.exit_code == 1
        and isinstance(result.exception, SystemExit)
        and len(lines) == 1
        and lines[0].startswith("Error: ")
    )


def test_damage_is_told_or_does_no_harm(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Skip the figure: it takes half the time and is not compared.
    monkeypatch.setattr("pipeline.evaluation.evaluate.write_figure", lambda *_: None)
    root = tmp_path / "copy"
    copy(sound, root)
    expected = {name: run(root)[1] for name, run in [*OTHERS.items(), ("evaluate", evaluated)]}
    turns = cycle(OTHERS)
    for number, (kind, harm) in enumerate(chosen(sound)):
        copy(sound, root, harm)
        audit = command(root, "verify", "s.zarr")
        differing = []
        for name in [*(OTHERS if FLIPS else [next(turns)] if number % 2 else []), "evaluate"]:
            result, content = evaluated(root) if name == "evaluate" else OTHERS[name](root)
            if result.exit_code != 0 or content != expected[name]:
                differing.append(name)
                # If an entry that nothing refers to is missing, `inspect` lists less and queries are encoded again.
                is_unknown = not kind.is_known and name.startswith(("inspect", "text")) and result.exit_code == 0
                assert is_unknown or is_one_line(result), (harm, name, result.output, result.exception)
            if FLIPS:
                copy(sound, root, harm)  # the command may have repaired it
        if kind.is_in_store:
            # `verify` lists damage on standard output, as a result; a store that cannot be opened is an error.
            assert audit.exit_code == 0 or is_one_line(audit) or " faulty" in audit.stdout, (harm, audit.exception)
            # `verify` cannot detect that an entry is missing if nothing refers to it.
            assert audit.exit_code == 1 or not (differing and kind.is_known), (harm, differing, audit.output)
            if FLIPS or not number % 2:
                check_repair(root, sound, harm)
    assert number > len(KINDS)


def copy(sound: Path, root: Path, harm: Harm | None = None) -> None:
    """Replace `root` with a copy of the undamaged files, and then apply one harm to it."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(sound, root)
    if harm is not None:
        harm.apply(root)


def check_repair(root: Path, sound: Path, harm: Harm) -> None:
    """Check that `verify --repair` succeeds and that `verify` then finds no damage."""
    copy(sound, root, harm)
    for words in (["verify", "s.zarr", "--repair"], ["verify", "s.zarr"]):
        result = command(root, *words)
        assert result.exit_code == 0, (harm, result.output, result.exception)
