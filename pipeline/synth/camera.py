"""The pinhole camera of a scene, as arithmetic: what is in the picture can be asked before drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.synth.arrays import Floats

WIDTH_PIXELS = 320
HEIGHT_PIXELS = 240


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Stands at x = y = 0 and looks along +y, tilted down by `pitch_deg`.

    The world's axes: x to the picture's right, y away from the camera, z up; metres.
    """

    height_m: float
    pitch_deg: float
    fov_deg: float
    """Vertical field of view."""

    def project(self, points_m: Floats) -> Floats:
        """World points (..., 3) to picture points (..., 2), fractions of its width and height.

        (0, 0) is the top left corner. The points must lie in front of the camera.
        """
        tilt = math.radians(self.pitch_deg)
        across = points_m[..., 0]
        forth = points_m[..., 1]
        rise = points_m[..., 2] - self.height_m
        depth = forth * math.cos(tilt) - rise * math.sin(tilt)
        up = rise * math.cos(tilt) + forth * math.sin(tilt)
        half_height = depth * math.tan(math.radians(self.fov_deg) / 2)
        half_width = half_height * WIDTH_PIXELS / HEIGHT_PIXELS
        return np.stack([0.5 + 0.5 * across / half_width, 0.5 - 0.5 * up / half_height], axis=-1)

    def sees(self, ground_m: Floats, *, height_m: float, radius_m: float, margin: float = 0.02) -> bool:
        """Whether upright things that stand at `ground_m` (n, 2) lie in the picture, head to foot.

        `margin` is a fraction of the picture's sides.
        """
        corners = [
            np.stack([ground_m[:, 0] + dx, ground_m[:, 1], np.full(len(ground_m), z)], axis=-1)
            for dx in (-radius_m, radius_m)
            for z in (0.0, height_m)
        ]
        seen = self.project(np.stack(corners))
        return bool(seen.min() >= margin and seen.max() <= 1 - margin)
