"""Tensor files with damage detection: neither safetensors nor torch verifies the bytes that it reads."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from extract.errors import first_line

DIGEST = "digest"
"""Key of the digest in the metadata of a safetensors file."""


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hex, of the names, dtypes, shapes and values of CPU tensors, sorted by name.

    Args:
        tensors: CPU tensors of any shape and dtype, by name.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file with a digest in its metadata.

    Args:
        path: the file to write.
        tensors: tensors of any shape and dtype, on any device, by name.
        metadata: additional strings to store.

    Raises:
        OSError, safetensors.SafetensorError: the file cannot be written.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(kept, path, {**(metadata or {}), DIGEST: tensor_digest(kept)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file.

    The digest in the metadata is verified. If the metadata has no `DIGEST`, damage goes undetected.

    Args:
        path: the file to read.

    Returns:
        The tensors on the CPU by name, and the metadata.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is not a safetensors file, or is damaged.
    """
    # Open the file in Python and pass /dev/fd: `open` raises OSError for a folder or an unreadable file, where
    # safetensors raises errors of any type. safetensors also rejects paths that are not UTF-8; /dev/fd/N avoids that.
    with path.open("rb") as opened:
        try:
            with safetensors.safe_open(f"/dev/fd/{opened.fileno()}", framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
                metadata = dict(file.metadata() or {})
        # A damaged header can raise almost any exception; safetensors documents no complete list.
        except Exception as error:
            raise ValueError(f"no readable safetensors file: {first_line(error)}") from error
    if DIGEST in metadata and metadata[DIGEST] != tensor_digest(tensors):
        raise ValueError("its digest is not that of its tensors")
    return tensors, metadata


def load_archive(path: Path) -> Any:  # noqa: ANN401 - any object
    """Read a file written by `torch.save`, on the CPU, without executing code from the file.

    `torch.load` does not verify the CRC-32 checksums of the archive, so this function does.

    Args:
        path: the file to read.

    Returns:
        The stored object.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is not such an archive, or is damaged.
    """
    blob = path.read_bytes()
    try:
        _check_archive(io.BytesIO(blob))
        return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    # Damaged bytes can raise almost any exception; neither zipfile nor torch documents a complete list.
    except Exception as error:
        raise ValueError(f"no readable torch archive: {first_line(error)}") from error


def is_sound_archive(path: Path) -> bool:
    """Return whether a file is an undamaged archive written by `torch.save`. Raises OSError."""
    with path.open("rb") as file:
        try:
            _check_archive(file)
        except Exception:  # noqa: BLE001 - as in `load_archive`
            return False
    return True


def _check_archive(file: Any) -> None:  # noqa: ANN401 - a binary file
    with zipfile.ZipFile(file) as archive:
        # torch stores its records uncompressed. A compressed record could expand to any size.
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("its records are compressed")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its record {name} does not match")
