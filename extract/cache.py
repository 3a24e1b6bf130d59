"""Where converted weights and vectors are kept between runs, and how a file is told from another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder below $XDG_CACHE_HOME/gkcmn-pipe (~/.cache/gkcmn-pipe); not made here."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base.joinpath("gkcmn-pipe", *parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's whole content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
