"""The two video backbones behind a common interface: a clip of frames in, one feature map out.

- ``inception``: Inception-I3D (Carreira and Zisserman, 2017) up to Mixed_5c, 1024 channels;
- ``i3d_r50``: PyTorchVideo's ResNet-50 I3D up to its fifth stage, 2048 channels.

Dimension letters:
    B clips, T frames, H rows, W columns, C channels of the map.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from extract.errors import DeviceError, WeightsError
from extract.i3d.network import CHANNELS, InceptionI3d
from extract.i3d.weights import load_i3d_r50, load_inception

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_CPU_CLIPS = 2  # clips per batch on a CPU: larger batches exceed its caches and run slower


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """A pretrained network with the origin of its weights and its preprocessing."""

    name: str
    """Name of the backbone: "inception" or "i3d_r50"."""
    channels: int
    """Number of channels C of a feature map: 1024 or 2048."""
    weights_sha256: str
    """SHA-256, in hex, of the file that the weights were loaded from."""
    preprocessing: str
    """Description of the preprocessing of uint8 pixels, stored in the feature store."""
    network: nn.Module
    """Network that maps float32 (B, 3, T, H, W) to (B, C, T', H/32, W/32)."""
    scale: float
    """Factor of the preprocessing; see `shift`."""
    shift: float
    """Offset of the preprocessing: a pixel p in [0, 255] is converted to scale * p + shift."""
    device: torch.device
    """Device of the network."""

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Return one feature map per clip: the output of the network, averaged over time.

        Args:
            clips: uint8 (B, T, H, W, 3), RGB in [0, 255]; the model of this project requires 224 x 224.

        Returns:
            float32 (B, C, H/32, W/32), sizes rounded up, values not negative; 7 x 7 for 224 x 224.

        Raises:
            ValueError: `clips` has another dtype or shape, or is empty.
        """
        if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or not clips.size:
            raise ValueError(f"clips must be uint8 (B, T, H, W, 3), got {clips.dtype} {clips.shape}")
        with torch.inference_mode(), self._exact_float32():
            pixels = torch.from_numpy(clips.copy()).to(self.device)  # the copy is writable and contiguous
            parts = max(1, len(pixels) // _CPU_CLIPS) if self.device.type == "cpu" else 1
            maps = [self._forward(part) for part in pixels.tensor_split(parts)]
            return np.ascontiguousarray(torch.cat(maps).cpu().numpy())

    def _forward(self, pixels: Tensor) -> Tensor:
        # On a CPU keep the channels last in memory, as they already are: this is 1.5 times as fast as channels first.
        x = pixels.permute(0, 4, 1, 2, 3)
        if self.device.type != "cpu":
            x = x.contiguous()
        x = x.to(torch.float32).mul_(self.scale).add_(self.shift)
        maps: Tensor = self.network(x).mean(dim=2)
        return maps

    def _exact_float32(self) -> AbstractContextManager[None]:
        # By default PyTorch allows cuDNN to compute convolutions in TF32; the features would then depend on the device.
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def load_backbone(name: str, *, weights: Path | None, device: str) -> Backbone:
    """Load a backbone with its weights.

    Args:
        name: "inception" or "i3d_r50".
        weights: a weights file; None selects the packaged weights (inception) or those of the hub (i3d_r50).
        device: a torch device such as "cpu", "cuda" or "cuda:1"; "auto" selects CUDA if it is available.

    Raises:
        DeviceError: the device is not available.
        MissingInputError: the weights file does not exist.
        WeightsError: the backbone is unknown, or the weights cannot be downloaded, are damaged, or belong to another
            network.
    """
    if name not in _LOADERS:
        raise WeightsError(f"backbone {name!r}: unknown; take one of {', '.join(_LOADERS)}")
    return _LOADERS[name](weights, _device(device))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError is raised by a torch built without CUDA
        raise DeviceError(f"device {name!r}: not usable here; take cpu, or see torch.cuda.is_available()") from error
    return device


def _load_inception(path: Path | None, device: torch.device) -> Backbone:
    loaded = load_inception(path)
    with torch.device("meta"):
        network = InceptionI3d()
    return Backbone(
        name="inception",
        channels=CHANNELS,
        weights_sha256=loaded.sha256,
        preprocessing="RGB; 2x/255-1",
        network=_prepare(network, loaded.state, device),
        scale=2 / 255,
        shift=-1.0,
        device=device,
    )


def _load_i3d_r50(path: Path | None, device: torch.device) -> Backbone:
    # Imported here because it is slow and the default backbone does not need it. It uses deprecated functions of torch,
    # which warns about them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from pytorchvideo.models.hub import i3d_r50

    with torch.device("meta"):
        network = i3d_r50(pretrained=False)
    network.blocks = network.blocks[:6]  # drop the classification head
    loaded = load_i3d_r50(path, network.state_dict())
    return Backbone(
        name="i3d_r50",
        channels=2048,
        weights_sha256=loaded.sha256,
        preprocessing="RGB; (x/255-0.45)/0.225",  # mean and standard deviation of Kinetics, from PyTorchVideo
        network=_prepare(network, loaded.state, device),
        scale=1 / (255 * 0.225),
        shift=-0.45 / 0.225,
        device=device,
    )


def _prepare(network: nn.Module, state: dict[str, Tensor], device: torch.device) -> nn.Module:
    """Load weights into a network that was created on the meta device, and set its device and memory layout."""
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False).eval()
    layout = torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format
    placed: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return placed


_LOADERS: dict[str, Callable[[Path | None, torch.device], Backbone]] = {
    "inception": _load_inception,
    "i3d_r50": _load_i3d_r50,
}
