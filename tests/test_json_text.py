"""extract.io.json_text: every kind of bad JSON is a ValueError."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from extract.io.json_text import parse_json, read_json_file


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


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' stands twice"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b'["\xe9"]', "byte 3 is not UTF-8"),
    ],
)
def test_what_python_alone_would_accept_or_misname(text: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        parse_json(text)


def test_pairs_of_surrogates_and_a_byte_order_mark_are_text() -> None:
    assert parse_json(b'\xef\xbb\xbf["\\ud83d\\udc4b"]') == ["\N{WAVING HAND SIGN}"]


def test_bytes_of_a_path_that_are_not_utf8_come_back_where_paths_stand() -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    assert parse_json(json.dumps([name]), has_paths=True) == [name]
    for text, has_paths in ((json.dumps([name]), False), ('["\\ud83d"]', True)):
        with pytest.raises(ValueError, match="surrogate"):
            parse_json(text, has_paths=has_paths)


def test_a_repeated_key_may_be_told(tmp_path: Path) -> None:
    repeated: list[str] = []
    assert parse_json('{"a": 1, "a": 2, "a": 3}', on_repeated=repeated.append) == {"a": 3}
    assert repeated == ["a", "a"]
