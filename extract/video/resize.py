"""Pictures as the backbones take them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def stretch(frame: np.ndarray, size: int) -> np.ndarray:
    """Stretch one HWC uint8 RGB frame to (size, size, 3) by antialiased bilinear resampling.

    A stretch, not a crop, keeps boxes a linear map of the source's.
    """
    if frame.shape[:2] == (size, size):
        return frame
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR))
