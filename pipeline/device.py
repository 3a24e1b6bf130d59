"""Where tensors live."""

from __future__ import annotations

import torch

from pipeline.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return "cuda" or "cpu" for "auto", "cpu" for any of its names, and others as they are.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):  # the second, of a text that is not UTF-8
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: no such device here; use auto, cpu, cuda or cuda:N")
    # torch keeps a few bits of the number: its own index may be another device's.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA GPUs; use cpu or auto")
    return "cpu" if device.type == "cpu" else name
