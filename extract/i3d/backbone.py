"""The video backbones behind one interface: a clip of pictures in, one feature map out.

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

_CPU_CLIPS = 2  # clips at a time on a CPU: more fall out of its caches and run slower


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """A pretrained network, its weights' origin, and what it does to pixels."""

    name: str
    channels: int
    """C: 1024 or 2048."""
    weights_sha256: str
    """Of the file that the weights came from."""
    preprocessing: str
    """What happens to uint8 pixels before the network, as text for the feature store."""
    network: nn.Module
    """float32 (B, 3, T, H, W) -> (B, C, T', H/32, W/32)."""
    scale: float
    shift: float
    """A pixel p in [0, 255] enters the network as scale * p + shift."""
    device: torch.device

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Return one feature map a clip: the network's output, averaged over what is left of time.

        Args:
            clips: uint8 (B, T, H, W, 3), RGB in [0, 255]; the model of this project takes 224 x 224.

        Returns:
            float32 (B, C, H/32, W/32), rounded up, not negative: 7 x 7 for 224 x 224.

        Raises:
            ValueError: `clips` has another type or shape, or is empty.
        """
        if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or not clips.size:
            raise ValueError(f"clips must be uint8 (B, T, H, W, 3), got {clips.dtype} {clips.shape}")
        with torch.inference_mode(), self._exact_float32():
            pixels = torch.from_numpy(clips.copy()).to(self.device)  # the copy is writable and contiguous
            parts = max(1, len(pixels) // _CPU_CLIPS) if self.device.type == "cpu" else 1
            maps = [self._forward(part) for part in pixels.tensor_split(parts)]
            return np.ascontiguousarray(torch.cat(maps).cpu().numpy())

    def _forward(self, pixels: Tensor) -> Tensor:
        # On a CPU the channels stay last in memory, where they are: 1.5 times as fast as channels first.
        x = pixels.permute(0, 4, 1, 2, 3)
        if self.device.type != "cpu":
            x = x.contiguous()
        x = x.to(torch.float32).mul_(self.scale).add_(self.shift)
        maps: Tensor = self.network(x).mean(dim=2)
        return maps

    def _exact_float32(self) -> AbstractContextManager[None]:
        # PyTorch lets cuDNN round convolutions to TF32 by default; features would then depend on the device.
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def load_backbone(name: str, *, weights: Path | None, device: str) -> Backbone:
    """Load a backbone with its weights.

    Args:
        name: "inception" or "i3d_r50".
        weights: the user's own file; None takes the packaged weights (inception) or the hub's (i3d_r50).
        device: as torch names it: "cpu", "cuda", "cuda:1".

    Raises:
        DeviceError: there is no such device here.
        MissingInputError: the weights are not there.
        WeightsError: there is no such backbone; or the weights cannot be had, are damaged, or are another network's.
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
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without CUDA
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
    # Slow to import, and not needed for the default backbone. torch warns of what pytorchvideo uses of it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from pytorchvideo.models.hub import i3d_r50

    with torch.device("meta"):
        network = i3d_r50(pretrained=False)
    network.blocks = network.blocks[:6]  # without the head
    loaded = load_i3d_r50(path, network.state_dict())
    return Backbone(
        name="i3d_r50",
        channels=2048,
        weights_sha256=loaded.sha256,
        preprocessing="RGB; (x/255-0.45)/0.225",  # Kinetics' mean and deviation, as its model zoo gives them
        network=_prepare(network, loaded.state, device),
        scale=1 / (255 * 0.225),
        shift=-0.45 / 0.225,
        device=device,
    )


def _prepare(network: nn.Module, state: dict[str, Tensor], device: torch.device) -> nn.Module:
    """Give a network made on the meta device its weights, its device and its memory layout."""
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False).eval()
    layout = torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format
    placed: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return placed


_LOADERS: dict[str, Callable[[Path | None, torch.device], Backbone]] = {
    "inception": _load_inception,
    "i3d_r50": _load_i3d_r50,
}
