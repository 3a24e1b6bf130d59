"""The rules of the layout, and that the documents say what the commands do."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli import main

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "extract": {"extract"},
    "model": {"model"},
    "pipeline": {"pipeline", "extract", "model"},
}
SOLE = {
    "decord": "extract/video/worker.py",
    "zarr": "extract/store/feature_store.py extract/store/slots.py extract/store/versions.py",
    "dask": "extract/parallel.py extract/store/statistics.py",
    "distributed": "extract/parallel.py",
    "spacy": "extract/text/encoder.py",
    "torchtext": "extract/text/vectors.py",
}


def modules() -> list[Path]:
    return [ROOT / "cli.py", *(path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py")))]


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    package = name.partition("/")[0]
    found = imports(path)
    if package in ALLOWED:
        assert found & {"cli", *ALLOWED} <= ALLOWED[package]
    for library, sole in SOLE.items():
        assert library not in found or name in sole.split()


def test_a_decoder_child_is_light() -> None:
    """One starts for each video: torch or zarr would double its start and take ten times the memory."""
    code = (
        "import sys, extract.video.worker; print(sorted({'torch', 'zarr', 'dask', 'spacy', 'decord'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_readme_s_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = readme_commands()
    assert {"make demo", "make test"} <= set(commands)
    for line in commands:
        program, name, *args = shlex.split(line)
        if program == "make":
            assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), line
        else:
            assert program == "gkcmn-pipe"
            command = main.commands[name]
            if isinstance(command, click.Group):
                name, *args = args
                command = command.commands[name]
            command.make_context(name, args)


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `gkcmn-pipe (\w+)", text, flags=re.MULTILINE)) == set(main.commands)


@pytest.mark.opengl
@pytest.mark.slow
def test_the_readme_s_first_round_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    block = next(
        block
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
        if "gkcmn-pipe synth" in block
    )
    monkeypatch.setenv("GKCMN_TRAIN_EPOCHS", "1")
    for line in block.replace("--videos 12", "--videos 1").splitlines():
        command = [sys.executable, "-m", "cli", *shlex.split(line)[1:]]
        subprocess.run(command, check=True, cwd=tmp_path, env=None)
    assert (tmp_path / "tube.json").is_file()
    assert (tmp_path / "tube.mp4").is_file()
