"""Array and color types that the modules of `synth` share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Rgb: TypeAlias = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""
