"""Settings of all tests: the same examples every time, and no clock that a busy machine could trip."""

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=0, help="Fuzz each command for that long, at random.")
    parser.addoption("--fuzz-seed", type=int, help="Repeat what a seed gave, that a run at random printed.")
