"""Files in the working folder and environment variables do not break commands, and help texts are readable."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import main
from extract.errors import OutputError
from extract.io.files import check_writable
from extract.video.worker import threads_of

ROOT = Path(__file__).parents[1]


def commands(group: click.Group = main, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and group, with the words that call it."""
    yield names, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


ALL = dict(commands())
LEAVES = {names: command for names, command in ALL.items() if not isinstance(command, click.Group)}


def python_cli(*args: str, folder: Path, **environ: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m cli` in a folder, with additional environment variables."""
    base = {name: value for name, value in os.environb.items() if not name.startswith(b"GKCMN_")}
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
    search = os.fsencode(environ.get("PYTHONPATH", "")) + b":" + os.fsencode(ROOT)
    return subprocess.run(
        [sys.executable, "-m", "cli", *args],
        capture_output=True, check=False, cwd=folder, env={**base, **variables, b"PYTHONPATH": search.strip(b":")},
    )  # fmt: skip


# Help


@pytest.mark.parametrize("width", [50, 200])
@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_help_can_be_read(names: tuple[str, ...], width: int) -> None:
    text = CliRunner().invoke(main, [*names, "--help"], terminal_width=width).output
    assert not re.search(r"\\[bf]|[\b\f]", text)  # click's formatting marks, escaped or raw
    for option in ALL[names].params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name
    if names in LEAVES:
        lines = text.splitlines()
        (example,) = (lines[number + 1] for number, line in enumerate(lines) if line.strip() == "Example:")
        assert example.strip().startswith(" ".join(("gkcmn-pipe", *names)))
        assert f"Example:\n  {example.strip()}" in str(LEAVES[names].epilog)  # unwrapped at any terminal width


def test_each_example_of_the_first_round_has_a_line() -> None:
    text = CliRunner().invoke(main, ["--help"], terminal_width=50).output
    lines = [line.split()[1] for line in text.splitlines() if line.startswith("    gkcmn-pipe ")]
    assert lines == ["synth", "features", "train", "evaluate", "ground"]


# The working folder


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """Create a folder with modules of common names that exit when they are imported."""
    for name in ("extract", "model", "pipeline", "torch", "numpy", "click", "json", "random", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the working folder')")
    return tmp_path


def test_modules_in_the_working_folder_are_not_imported(shadows: Path) -> None:
    done = python_cli("config", folder=shadows)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("hiding", ["model.py", "pipeline/__init__.py", "extract/any", "torch.py"])
def test_a_module_that_hides_one_is_named(tmp_path: Path, hiding: str) -> None:
    path = tmp_path / "mine" / hiding
    path.parent.mkdir(parents=True)
    path.write_text("raise SystemExit('a module of the user')")
    done = python_cli("config", folder=tmp_path, PYTHONPATH=str(tmp_path / "mine"))
    if hiding == "extract/any":  # without __init__.py, so that our package is found
        assert (done.returncode, done.stderr) == (0, b"")
        return
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    name = hiding.partition("/")[0].removesuffix(".py")
    assert line.startswith(f"Error: {path}: hides ")
    assert f"`{name}`; rename it" in line


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = CliRunner().invoke(main, ["config"])
    assert result.exit_code == 1
    assert result.stderr == "Error: .: the working folder is gone; change to one that is there\n"


# The environment


def test_variables_of_others_break_nothing(tmp_path: Path) -> None:
    odd: dict[str, str | bytes] = {
        "GKCMN_HOME": "/x", "GKCMN_PATHS_STORE": b"caf\xe9", "GKCMN_PATHS_RUN": "\u00e9", "PYTHONWARNINGS": "error",
        "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "abc", "OMP_NUM_THREADS": "abc", "TERM": "dumb",
        "TMPDIR": "/no/such/folder", "XDG_CACHE_HOME": "relative", "RANK": "x", "WORLD_SIZE": "", "LOCAL_RANK": "3",
    }  # fmt: skip
    done = python_cli("config", folder=tmp_path, **odd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"Warning: unknown variables in the environment are ignored: GKCMN_HOME\n"
    assert b"[train]" in done.stdout


def test_only_torchrun_makes_a_process_one_of_several() -> None:
    ranks = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "GKCMN_HOME": "/x"}
    alone = CliRunner().invoke(main, ["config"], env=ranks)
    assert "GKCMN_HOME" in alone.stderr
    several = CliRunner().invoke(main, ["config"], env={**ranks, "TORCHELASTIC_RUN_ID": "1"})
    assert (several.exit_code, several.stderr) == (0, "")


@pytest.mark.parametrize(("columns", "kept"), [("0", None), ("-5", None), ("abc", None), ("7", None), ("100", "100")])
def test_widths_that_cannot_be_printed_do_not_count(
    columns: str, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert CliRunner().invoke(main, ["config"]).exit_code == 0
    assert os.environ.get("COLUMNS") == kept


def test_threads_are_bounded_by_what_is_a_number() -> None:
    asked = {"": 0, "abc": 0, "4": 4, "4,2": 4, " 8 ": 8, "-1": 0, "1e3": 0, "9" * 99: 0, "\u0664": 0}
    assert {text: threads_of(text) for text in asked} == asked


# Arguments


def test_a_path_is_neither_empty_nor_holds_a_nul() -> None:
    tried = 0
    for names, command in LEAVES.items():
        for parameter in command.params:
            if type(parameter.type).__name__ != "_PathType":
                continue
            tried += 1
            for value in ("", "a\0b"):
                is_option = isinstance(parameter, click.Option)
                given = [parameter.opts[0], value] if is_option else [value] * 3
                result = CliRunner().invoke(main, [*names, *given])
                assert result.exit_code == 2, (names, given, result.output)
                assert isinstance(result.exception, SystemExit)
    assert tried > 50


@pytest.mark.parametrize("flag", ["--store", "--weights", "--out", "--config", "--root", "--json", "--cache"])
def test_every_option_that_takes_a_path_is_checked(flag: str) -> None:
    for command in LEAVES.values():
        for parameter in command.params:
            if flag in parameter.opts:
                assert type(parameter.type).__name__ == "_PathType"


def test_the_root_folder_is_no_file_to_write() -> None:
    with pytest.raises(OutputError, match="/: is a folder; name a file"):
        check_writable(Path("/"))
