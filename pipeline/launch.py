"""Processes that torchrun starts together, told apart from stray variables of the same names."""

from __future__ import annotations

import os

_COUNTS = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
_LAUNCH = (*_COUNTS, "MASTER_ADDR", "MASTER_PORT")
_STRAY = ("ACCELERATE_", "PMI_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
"""Prefixes of what Accelerate reads beside its arguments: settings of other programs, and of launchers that are not
supported here."""


def process_rank() -> int:
    """The number of this process among those that torchrun started together; 0 if it is alone."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def drop_stray_variables() -> None:
    """Take out of the environment what would make Accelerate wait for other processes, or change results."""
    launch = () if _is_launched() else _LAUNCH
    for name in list(os.environ):
        if name in launch or name.startswith(_STRAY):
            del os.environ[name]


def _is_launched() -> bool:
    """Whether all variables that torchrun sets are there, with counts that fit together."""
    if not all(os.environ.get(name) for name in _LAUNCH):
        return False
    try:
        rank, local, size = (int(os.environ[name]) for name in _COUNTS)
    except ValueError:
        return False
    return 0 <= local <= rank < size
