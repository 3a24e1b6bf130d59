"""Hypothesis strategies for hostile texts and for damage to files of every kind that a command reads."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st

DEEP = 100_000
"""Depth of nested JSON, far beyond the interpreter's recursion limit."""
NUMBERS = ("0", "-1", "1", "2.5", "1e308", "-1e999", "nan", "inf", "-inf", "9" * 30, "1_000", "0x10", "٣", "1e-400")
TEXTS = (
    *NUMBERS,
    "",
    " ",
    "\t\n",
    "\0",
    "a\0b",
    "a\nb",
    "\r",
    "\x1b[31m",
    "\udcff\udcfe.mp4",
    "x\ud800",
    "x" * 5000,
    "x/" * 2000,
    "-",
    "--",
    "-x",
    "--nothing",
    "~",
    "~/x",
    "~nobody/x",
    "%",
    "%s%n",
    "%2F",
    "[",
    "[]",
    "[a",
    "]",
    "{",
    "{}",
    "{0.__class__}",
    "*",
    "**",
    "?",
    "clips/[a].mp4",
    "!",
    "$HOME",
    "`id`",
    ":",
    "12:30:45.mp4",
    "a:b",
    "://",
    "http://127.0.0.1:9/x",
    "http://[",
    "http://127.0.0.1:99999/x",
    "file://",
    "file:///nothing/here",
    "memory://nothing",
    "s3://",
    "unknown://x",
    "zip://a::file://b",
    "simplecache::memory://nothing",
    "..",
    ".",
    "nothing/here",
    "clips",
    "data",
    "data/features.zarr",
    "data/index.parquet",
    "runs/latest",
    "lists/list.txt",
    "e\u0301",
    "\u202e\u200b",
    "\ufeff",
    "İ",
    "👩‍👩‍👧",
    "ﷺ" * 50,
    "null",
    "true",
    "cpu",
    "cuda",
    "cuda:99999999999999999999",
    "cuda:-1",
    "cpu:1",
    "meta",
    "train.epochs",
    "=",
    "train.epochs=",
    "=1",
    "train=1",
    "train.epochs.x=1",
    "extract.vectors=",
    "model.sigma=nan",
    "a.mp4",
)
READ_ONLY_TEXTS = ("/", "/dev/null")
"""Texts for inputs only: as outputs they could damage the machine that runs the tests."""

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=20))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers().map(str), st.floats().map(str))

_VALUES: tuple[str, ...] = (
    "null", "true", "0", "-1", "1.5", "1e308", "-1e308", "1e999", "NaN", "9" * 25, str(2**31), str(2**63), '""', '"x"',
    '"\\u0000"', '"\\ud800"', '"\u200b"', f'"{"y" * 3000}"', "[]", "{}", "[null]", "[[[]]]", '{"a": 1}', "[1, 2]",
    "[1, 2, 3, 4]", "[-5, 1e9]", "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "tru", "1 2", "'x'",
)  # fmt: skip
_OBJECTS: tuple[Any, ...] = (
    None, 1, "x", [], {}, {"epochs": 1}, {"state": {}}, {"epochs": "x", "state": {}}, {"epochs": 1, "state": {}},
    {"epochs": 1, "state": {"model": {}, "optimiser": {}}}, {"epochs": -1, "state": None}, {"x": torch.zeros(3)},
    {"epochs": 1, "state": {"model": {"a": torch.zeros(2)}, "optimiser": 1, "schedule": 1}}, torch.zeros(2),
)  # fmt: skip
_CELLS: tuple[Any, ...] = (
    None, -1, 0, 1, 10**6, 2**31 - 1, -(2**31), float("nan"), float("inf"), -1e30, "", "x", "\0", "y" * 3000, [],
    [None], [[1.0, 2.0, 3.0, 4.0]],
    [[float("inf")] * 4] * 8, [[5.0, 5.0, 1.0, 1.0]] * 8, [[float("nan")] * 4] * 8, [1, 2],
    True,
)  # fmt: skip

_BYTES = ("flip", "cut", "insert", "twice", "drop", "zero", "empty", "folder", "absent", "utf-16", "bom", "not utf-8")
_KINDS = {
    ".json": ("node", "node", "node", "without", "duplicate key"),
    ".jsonl": ("node", "node", "node", "without", "duplicate key", "line twice"),
    ".toml": ("setting", "setting"),
    ".parquet": ("cell", "cell", "cell", "column gone", "column of text", "no rows", "rows twice"),
    ".safetensors": ("head", "head", "ones"),
    ".pt": ("object", "object"),
    ".txt": ("line", "line"),
}


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One change to one file: the kind of change, its position, and the value to insert."""

    file: str
    """Path relative to the workspace."""
    kind: str
    where: float
    """Position in [0, 1), as a fraction of the file's length or of its number of nodes, lines or columns."""
    which: int
    """Index of the value, modulo the number of values."""

    def apply(self, root: Path) -> None:
        """Change the file below `root`; a file that is missing or can no longer be parsed is left unchanged."""
        path = root / self.file
        if path.is_file():
            with suppress(ValueError, RecursionError, OverflowError):  # an earlier damage made it unreadable
                self._apply(path)

    def _apply(self, path: Path) -> None:
        if self.kind == "absent":
            path.unlink()
        elif self.kind == "folder":
            path.unlink()
            path.mkdir()
        elif self.kind in _BYTES:
            path.write_bytes(self._bytes(path.read_bytes()))
        elif self.kind == "object":
            torch.save(_OBJECTS[self.which % len(_OBJECTS)], path)
        elif path.suffix == ".parquet":
            self._table(path)
        elif path.suffix == ".safetensors":
            path.write_bytes(self._weights(path.read_bytes()))
        else:
            path.write_text(self._text(path.suffix, path.read_text(encoding="utf-8")), encoding="utf-8")

    def _bytes(self, content: bytes) -> bytes:
        place = int(self.where * len(content))
        length = 1 + self.which % 40
        piece, tail = content[place : place + length], content[place + length :]
        match self.kind:
            case "flip":
                piece = bytes(byte ^ 1 << self.which % 8 for byte in piece[:1]) + piece[1:]
            case "cut":
                piece = tail = b""
            case "insert":
                piece = bytes((self.which * 31 + number) % 256 for number in range(length)) + piece
            case "twice":
                piece += piece
            case "drop":
                piece = b""
            case "zero":
                piece = bytes(len(piece))
            case "not utf-8":
                piece = b"\xff\xfe\x80" + piece
            case "empty":
                return b""
            case "utf-16":
                return content.decode("latin-1").encode("utf-16")
            case "bom":
                return b"\xef\xbb\xbf" + content
        return content[:place] + piece + tail

    def _text(self, suffix: str, text: str) -> str:
        value = _VALUES[self.which % len(_VALUES)]
        if suffix == ".json":
            return self._json(text)
        lines = text.splitlines()
        if not lines:
            return value
        number = int(self.where * len(lines))
        if suffix == ".jsonl" and self.kind == "line twice":
            lines.insert(number, lines[number])
        elif suffix == ".jsonl":
            lines[number] = self._json(lines[number])
        elif suffix == ".toml":
            key, equals, _ = lines[number].partition("=")
            lines[number] = f"{key}= {value}" if equals else f"[{value}]"
        else:
            lines[number] = TEXTS[self.which % len(TEXTS)]
        return "\n".join(line.encode("utf-8", "replace").decode() for line in lines) + "\n"

    def _json(self, text: str) -> str:
        """Replace or remove one node of a JSON text; the replacement may be invalid JSON."""
        content = json.loads(text)
        nodes = list(_nodes(content))
        parent, key = nodes[int(self.where * len(nodes))]
        value = _VALUES[self.which % len(_VALUES)]
        if parent is None:
            return value
        if self.kind == "without":
            del parent[key]
            return json.dumps(content)
        if self.kind == "duplicate key" and isinstance(parent, dict):
            value = f"{json.dumps(parent[key])}, {json.dumps(key)}: {value}"
        parent[key] = "@@HERE@@"
        return json.dumps(content).replace('"@@HERE@@"', value)

    def _weights(self, content: bytes) -> bytes:
        """Change the JSON header, or set up to 64 bytes of the tensors to 0xFF, which makes floats NaN."""
        size = int.from_bytes(content[:8], "little")
        head, body = content[8 : 8 + size], content[8 + size :]
        if self.kind == "ones":
            place = int(self.where * len(body)) // 4 * 4
            return content[:8] + head + body[:place] + b"\xff" * len(body[place : place + 64]) + body[place + 64 :]
        head = self._json(head.decode()).encode()
        return len(head).to_bytes(8, "little") + head + body

    def _table(self, path: Path) -> None:
        try:
            table = pq.read_table(path)
        except OSError as error:  # Arrow raises it for damaged pages
            raise ValueError(str(error)) from error
        columns, schema = table.to_pydict(), table.schema
        name = list(columns)[int(self.where * len(columns))]
        match self.kind:
            case "column gone":
                del columns[name]
            case "column of text":
                columns[name] = [str(value) for value in columns[name]]
            case "no rows":
                columns = {key: [] for key in columns}
            case "rows twice":
                columns = {key: value * 2 for key, value in columns.items()}
            case _:
                cell = _CELLS[self.which % len(_CELLS)]
                columns[name] = [cell, *columns[name][1:]]
        try:
            changed = pa.table(columns, schema=schema)
        except (pa.ArrowException, KeyError, ValueError, TypeError, OverflowError):
            try:
                changed = pa.table(columns).replace_schema_metadata(schema.metadata)
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                return  # Parquet cannot store such a table
        pq.write_table(changed, path)


def damages(files: list[str]) -> st.SearchStrategy[Damage]:
    """Return a strategy for damage to one of the files; the kinds of damage depend on the file type."""

    def of(file: str) -> st.SearchStrategy[Damage]:
        kinds = (*_BYTES, *_KINDS.get(Path(file).suffix, ()) * 3)
        return st.builds(
            Damage,
            file=st.just(file),
            kind=st.sampled_from(kinds),
            # `integers` prefers small numbers; `sampled_from` covers the file evenly.
            where=st.sampled_from(range(1000)).map(lambda number: number / 1000),
            which=st.sampled_from(range(5000)),
        )

    return st.sampled_from(files).flatmap(of)


def copied(source: Path, target: Path) -> Path:
    """Copy a workspace to `target`, replacing an existing folder, and return `target`."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target, symlinks=True)


def one_error(stderr: str) -> bool:
    """Return whether the output has exactly one error line and ends with it."""
    lines = [line for line in re.split(r"\r?\n", stderr) if line]
    found = [line for line in lines if line.startswith(("Error: ", "Failed: "))]
    return len(found) == 1 and lines[-1] == found[0]


def _nodes(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parent and the key of each value in a JSON document; None and None for the root."""
    yield None, None
    stack = [content] if isinstance(content, dict | list) else []
    while stack:
        parent = stack.pop()
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        for key in keys:
            yield parent, key
            if isinstance(parent[key], dict | list):
                stack.append(parent[key])
