"""Files of tensors whose damage is noticed: neither safetensors nor torch checks the bytes that it reads."""

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
"""Key of the digest in a safetensors file's metadata."""


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 in hex over names, dtypes, shapes and values of CPU tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file with a digest in its metadata.

    Args:
        path: of the file.
        tensors: on any device.
        metadata: more texts to keep.

    Raises:
        OSError, safetensors.SafetensorError: it cannot be written.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(kept, path, {**(metadata or {}), DIGEST: tensor_digest(kept)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors on the CPU, and its metadata.

    A digest in the metadata is checked; where there is none (`DIGEST` not in the metadata), damage cannot be noticed.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: it is no safetensors file, or damaged.
    """
    # A folder or a file without rights is an OSError of `open`, and of any type in safetensors, which takes no path
    # that is not UTF-8 either: an open file has another.
    with path.open("rb") as opened:
        try:
            with safetensors.safe_open(f"/dev/fd/{opened.fileno()}", framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                metadata = dict(file.metadata() or {})
        # A damaged header raises nearly anything: safetensors documents no closed list.
        except Exception as error:
            raise ValueError(f"no readable safetensors file: {first_line(error)}") from error
    if DIGEST in metadata and metadata[DIGEST] != tensor_digest(tensors):
        raise ValueError("its digest is not that of its tensors")
    return tensors, metadata


def load_archive(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    """Read what `torch.save` wrote, on the CPU; no code from the file is run.

    `torch.load` does not compare the archive's CRC-32 sums, so that is done here.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: it is no such archive, or damaged.
    """
    blob = path.read_bytes()
    try:
        _check_archive(io.BytesIO(blob))
        return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    # Damaged bytes raise nearly anything: neither zipfile nor torch documents a closed list.
    except Exception as error:
        raise ValueError(f"no readable torch archive: {first_line(error)}") from error


def is_sound_archive(path: Path) -> bool:
    """Whether a file is an archive of `torch.save` without damage. Raises OSError."""
    with path.open("rb") as file:
        try:
            _check_archive(file)
        except Exception:  # noqa: BLE001 - as in `load_archive`
            return False
    return True


def _check_archive(file: Any) -> None:  # noqa: ANN401 - a binary file
    with zipfile.ZipFile(file) as archive:
        # torch stores its records as they are; a packed one could be of any size once it is unpacked.
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("its records are compressed")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its record {name} does not match")
