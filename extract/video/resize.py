"""Resizing of frames to the input size of the backbone."""

from __future__ import annotations

import numpy as np
from PIL import Image


def stretch(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize a frame to a square with antialiased bilinear resampling.

    The frame is not cropped, so that the boxes of the source and of the result are related by a linear map.

    Args:
        frame: uint8 (H, W, 3) RGB.
        size: side length of the result in pixels.

    Returns:
        uint8 (size, size, 3); the frame itself if it already has that size.
    """
    if frame.shape[:2] == (size, size):
        return frame
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR))
