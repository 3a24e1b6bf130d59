"""extract.json_text: every kind of bad JSON is a ValueError."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.json_text import parse_json, read_json_file


@pytest.mark.parametrize(
    "text",
    ["", "{", "nan", "[NaN]", '{"a": Infinity}', "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe", "1" * 5000, "{}{}"],
    ids=["empty", "cut", "nan", "NaN", "infinity", "deep list", "deep object", "no UTF-8", "long number", "two"],
)
def test_bad_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="."):
        parse_json(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"name": "é"}'.encode())
    assert read_json_file(tmp_path / "a.json") == {"name": "é"}
