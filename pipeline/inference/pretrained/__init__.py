"""The pretrained checkpoint; MODEL_CARD.md in this folder describes it and its limits."""

from __future__ import annotations

from pathlib import Path

from extract.io.files import is_file
from pipeline.checkpoint import CONFIG

SHIPPED = Path(__file__).parent
NOTE = "the shipped checkpoint, trained on drawn scenes alone; train your own with: gkcmn-pipe train"


def choose_run(named: Path | None, default: Path) -> Path:
    """Choose the run to use.

    Args:
        named: run that the user gave; None if there is none.
        default: the workspace's run, used if it exists and `named` is None.

    Returns:
        `named`, `default`, or else the folder of the pretrained checkpoint.
    """
    if named is not None or is_file(default / CONFIG):
        return named or default
    return SHIPPED
