"""Unexpected errors: a one-line message, a crash report to attach to an issue, and a traceback on request."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result

from cli import main
from extract.errors import GkcmnError
from pipeline.console.crash import MOST_REPORTS, crash_line, without_credentials, write_report

Break = Callable[[BaseException | Callable[[], object]], None]


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of crash reports, in a temporary cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gkcmn-pipe" / "crashes"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, crashes: Path) -> Break:
    """Return a function that makes the command `config` raise an exception or call a function."""

    def set_it(what: BaseException | Callable[[], object]) -> None:
        def config_toml(*_: object) -> str:
            if isinstance(what, BaseException):
                raise what
            return str(what())

        monkeypatch.setattr("pipeline.config.config_toml", config_toml)

    return set_it


def run(*args: str) -> Result:
    return CliRunner().invoke(main, [*args, "config", "--set", "paths.store=s3://me:secret@host/bucket?token=secret"])


def report_of(result: Result) -> Path:
    found = re.search(r"the traceback is in (.+?);", result.stderr)
    assert found is not None, result.stderr
    return Path(found[1])


class PanicError(BaseException):
    """Like the exception that PyO3 raises when Rust panics; it is not a subclass of Exception."""


UNEXPECTED = [
    KeyError("videos"),
    ValueError("first\nsecond"),
    EOFError(),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    ExceptionGroup("several", [ValueError("x"), KeyError("y")]),
    BaseExceptionGroup("several", [PanicError("x")]),
    PanicError("index out of bounds"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
]


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
def test_an_unexpected_error_is_one_line_and_a_report(broken: Break, crashes: Path, error: BaseException) -> None:
    broken(error)
    result = run()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: this is a bug in gkcmn-pipe ({type(error).__name__}")
    assert line.endswith("; attach that file to a bug report")
    assert "second" not in line
    text = report_of(result).read_text(encoding="utf-8")
    assert report_of(result).parent == crashes
    assert report_of(result).stat().st_mode & 0o077 == 0
    assert "Traceback (most recent call last)" in text
    assert "in config_toml" in text
    for name in ("version   ", "python    ", "platform  ", "torch 2", "zarr 3", "av ", "decord2 ", "numpy ", "dask "):
        assert name in text, name
    assert "gkcmn-pipe config --set" in text
    assert "s3://host/bucket" in text
    assert "secret" not in text + result.stderr


def test_credentials_in_an_error_s_own_text_are_hidden(broken: Break) -> None:
    broken(RuntimeError("cannot open https://me:secret@host/x?sig=secret and http://[::secret"))
    result = run()
    assert "https://host/x" in result.stderr
    assert "secret@" not in result.stderr + report_of(result).read_text()
    assert without_credentials("a C:\\x or a:b or 12:30") == "a C:\\x or a:b or 12:30"


def test_debug_shows_tracebacks_of_both_kinds(broken: Break) -> None:
    for error in (KeyError("x"), GkcmnError("a: b; c")):
        broken(error)
        result = run("--debug")
        assert result.exit_code == 1
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in run().stderr


def test_debug_shows_why_an_item_of_many_failed(broken: Break) -> None:
    def fail() -> str:
        error = GkcmnError("x.mp4: no video; give another")
        logging.getLogger("extract.extraction").debug("x.mp4 failed", exc_info=error)
        return "done"

    broken(fail)
    assert run().output == "done"
    result = run("--debug")
    assert result.stdout == "done"
    assert "extract.errors.GkcmnError: x.mp4" in result.stderr


def test_reports_are_bounded_and_others_files_stay(crashes: Path) -> None:
    crashes.mkdir(parents=True)
    (crashes / "mine.txt").write_text("mine")
    paths = [write_report(str(number)) for number in range(MOST_REPORTS + 5)]
    assert sorted(crashes.iterdir()) == sorted([crashes / "mine.txt", *paths[-MOST_REPORTS:]])
    assert paths[-1].read_text() == str(MOST_REPORTS + 4)


def test_a_cache_that_cannot_be_written_gives_way_to_the_temporary_folder(
    broken: Break, crashes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes.parent.mkdir(parents=True)
    crashes.write_text("in the way")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    broken(KeyError("x"))
    assert report_of(run()).parent == temporary
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent" / "\0"))
    result = run()
    assert result.exit_code == 1
    assert "this is a bug in gkcmn-pipe (KeyError: 'x'); no report could be written (" in result.stderr
    assert "--debug" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_error_whose_text_fails_is_reported_all_the_same(crashes: Path) -> None:
    class SilentError(Exception):
        def __str__(self) -> NoReturn:
            raise RuntimeError

    line = crash_line(SilentError(), ["x"])
    assert line.startswith("this is a bug in gkcmn-pipe (SilentError); ")


def test_an_endless_error_is_cut(crashes: Path) -> None:
    error: BaseException = ValueError("x" * 10_000_000)
    line = crash_line(error, ["x" * 10_000])
    assert len(line) < 1500
    (path,) = crashes.iterdir()
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "memory: there is not enough"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory: there is not enough"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: No space left on device; free some space"),
        (OSError(errno.EMFILE, "Too many open files"), "the system: Too many open files; raise"),
    ],
)
def test_what_the_machine_lacks_is_no_bug(broken: Break, crashes: Path, error: Exception, told: str) -> None:
    broken(error)
    result = run()
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {told}")
    assert "bug" not in result.stderr
    assert not crashes.exists()


@pytest.mark.parametrize(("error", "code"), [(SystemExit(3), 3), (KeyboardInterrupt(), 130)])
def test_what_ends_a_command_on_purpose_keeps_its_meaning(
    broken: Break, crashes: Path, error: BaseException, code: int
) -> None:
    broken(error)
    result = run()
    assert result.exit_code == code
    assert "bug" not in result.output
    assert not crashes.exists()


def test_sigterm_unwinds_as_ctrl_c_does(broken: Break, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    unwound = []

    def wait() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            unwound.append(True)

    def wait_in_vain() -> None:
        try:
            wait()
        except KeyboardInterrupt as error:
            raise RuntimeError("worker died") from error  # as a library might do

    for what in (wait, wait_in_vain):
        broken(what)
        result = run()
        assert result.exit_code == 143
        assert result.stderr.splitlines() == [
            "Terminated. What was finished is kept; the same command goes on or begins again."
        ]
    assert len(unwound) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_warnings_of_libraries_do_not_bury_the_line(broken: Break) -> None:
    def warn() -> None:
        warnings.warn("of a library", RuntimeWarning, stacklevel=1)
        logging.getLogger("library").warning("odd %s", "thing")
        logging.getLogger("library").warning("bad format %d", "x")
        raise KeyError("x")

    broken(warn)
    result = run()
    assert len(result.stderr.splitlines()) == 1
    text = report_of(result).read_text()
    assert "RuntimeWarning: of a library" in text
    assert "WARNING library: odd thing" in text
    assert not logging.getLogger().handlers or "Notes" not in str(logging.getLogger().handlers)


def test_an_error_outside_any_command_is_one_line_too(monkeypatch: pytest.MonkeyPatch, crashes: Path) -> None:
    def fail(*_: Any) -> NoReturn:
        raise KeyError("x")

    monkeypatch.setattr("click.Context.close", fail)
    result = CliRunner().invoke(main, ["config"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: this is a bug in gkcmn-pipe (KeyError: 'x'); ")


def test_a_nul_in_a_path_or_command_is_a_usage_error(crashes: Path) -> None:
    for args in (["compare", "a\0b", "c"], ["\0"], ["config", "--config", "\0"]):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 2
        assert "NUL" in result.stderr or "'\\x00'" in result.stderr
