"""Select the torch device."""

from __future__ import annotations

import torch

from pipeline.errors import ConfigError


def resolve_device(name: str) -> str:
    """Resolve the setting `device` to a torch device.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        For "auto", "cuda" if a GPU is available and "cpu" otherwise; "cpu" for any name of the CPU, such as "cpu:0";
        other names unchanged.

    Raises:
        ConfigError: the name is invalid, or this machine does not have the device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):  # ValueError for text that is not UTF-8
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: no such device here; use auto, cpu, cuda or cuda:N")
    # torch truncates the device number to a few bits, so `device.index` can be a different number; parse the name.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA GPUs; use cpu or auto")
    return "cpu" if device.type == "cpu" else name
