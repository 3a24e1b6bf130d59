"""The checkpoint that comes with the package; MODEL_CARD.md beside this file says what it is and what it cannot do."""

from __future__ import annotations

from pathlib import Path

from extract.io.files import is_file
from pipeline.checkpoint import CONFIG

SHIPPED = Path(__file__).parent
NOTE = "the shipped checkpoint, trained on drawn scenes alone; train your own with: gkcmn-pipe train"


def choose_run(named: Path | None, default: Path) -> Path:
    """The run that was named; else the workspace's own, if there is one; else the shipped checkpoint."""
    if named is not None or is_file(default / CONFIG):
        return named or default
    return SHIPPED
