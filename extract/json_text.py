"""JSON from outside, parsed so that whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever it holds
    """Parse one JSON document.

    Args:
        text: the document; bytes must be UTF-8.

    Raises:
        ValueError: the text is not UTF-8, is not JSON, holds NaN or an infinity, or is nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_file(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    """Read and parse a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: as `parse_json`.
    """
    return parse_json(path.read_bytes())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
