"""The pinhole camera of a scene. It computes what is visible without rendering."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.synth.arrays import Flags, Floats

WIDTH_PIXELS = 320
HEIGHT_PIXELS = 240
SHAKE_DEG = 0.45
"""Standard deviation of the yaw of a hand-held camera, in degrees."""
SHAKE_S = 0.9
"""Time between the random angles of a hand-held camera, in seconds."""

CameraMode = Literal["still", "panning", "following", "hand-held"]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera at x = y = 0 that looks along +y, rotated by its yaw and then tilted down by its pitch.

    World axes in meters: x to the right, y away from the camera, z up.
    """

    mode: CameraMode
    height_m: float
    fov_deg: float
    """Vertical field of view."""
    yaw_deg: tuple[float, ...]
    """Yaw of each frame; positive is to the left."""
    pitch_deg: tuple[float, ...]
    """Pitch of each frame; positive is down."""

    def axes(self) -> Floats:
        """Return the camera's right, up and forward directions in world coordinates: float (frames, 3, 3)."""
        yaw, tilt = np.radians(self.yaw_deg), np.radians(self.pitch_deg)
        zero = np.zeros(len(yaw))
        right = np.stack([np.cos(yaw), np.sin(yaw), zero], axis=-1)
        level = np.stack([-np.sin(yaw), np.cos(yaw), zero], axis=-1)
        upright = np.array([0.0, 0.0, 1.0])
        ahead = level * np.cos(tilt)[:, None] - upright * np.sin(tilt)[:, None]
        up = level * np.sin(tilt)[:, None] + upright * np.cos(tilt)[:, None]
        return np.stack([right, up, ahead], axis=1)

    def project(self, points_m: Floats) -> Floats:
        """Project world points to the frame.

        Args:
            points_m: float (frames, n, 3), in meters, in front of the camera.

        Returns:
            float (frames, n, 2), fractions of the width and the height; (0, 0) is the top left corner.
        """
        seen = np.einsum("fnk,fak->fna", points_m - (0.0, 0.0, self.height_m), self.axes())
        half_height = np.maximum(seen[..., 2], 0.1) * math.tan(math.radians(self.fov_deg) / 2)
        half_width = half_height * WIDTH_PIXELS / HEIGHT_PIXELS
        return np.stack([0.5 + 0.5 * seen[..., 0] / half_width, 0.5 - 0.5 * seen[..., 1] / half_height], axis=-1)

    def shows(self, ground_m: Floats, *, height_m: float, half_m: float, margin: float = 0.02) -> Flags:
        """Compute in which frames an upright object is completely visible.

        Args:
            ground_m: float (frames, 2), ground points in meters.
            height_m: height of the object.
            half_m: half the width of the object.
            margin: required distance to the frame's edges, as a fraction of its sides.

        Returns:
            bool (frames,).
        """
        corners = [
            np.stack([ground_m[:, 0] + dx, ground_m[:, 1], np.full(len(ground_m), z)], axis=-1)
            for dx in (-half_m, half_m)
            for z in (0.0, height_m)
        ]
        seen = self.project(np.stack(corners, axis=1))
        return np.asarray(((seen >= margin) & (seen <= 1 - margin)).all(axis=(1, 2)))


def draw_camera(rng: np.random.Generator, mode: CameraMode, frames: int, rate: float, followed_m: Floats) -> Camera:
    """Sample a camera.

    Args:
        rng: the random generator.
        mode: the kind of motion.
        frames: number of frames.
        rate: frames per second.
        followed_m: float (frames, 2), ground points in meters that a "following" camera keeps near the center.
    """
    pitch = float(rng.uniform(7, 12))
    yaw = np.zeros(frames)
    tilt = np.full(frames, pitch)
    if mode == "panning":
        half_deg = float(rng.choice([-1, 1]) * rng.uniform(5, 11))
        yaw = half_deg * np.cos(np.pi * np.arange(frames) / frames)
    elif mode == "following":
        aim = -np.degrees(np.arctan2(followed_m[:, 0], followed_m[:, 1]))
        yaw = _smooth(0.85 * aim, max(3, round(0.8 * rate)))
    elif mode == "hand-held":
        yaw = _wander(rng, frames, rate)
        tilt = tilt + 0.7 * _wander(rng, frames, rate)
    return Camera(
        mode=mode,
        height_m=float(rng.uniform(1.5, 2.3)),
        fov_deg=float(rng.uniform(21, 27)),
        yaw_deg=tuple(yaw.tolist()),
        pitch_deg=tuple(tilt.tolist()),
    )


def _smooth(values: Floats, width: int) -> Floats:
    """Compute the moving average of (n,) values over `width` values; the first and last values are repeated."""
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _wander(rng: np.random.Generator, frames: int, rate: float) -> Floats:
    """Sample a smooth random angle in degrees: (frames,)."""
    knots = SHAKE_DEG * rng.standard_normal(2 + math.ceil(frames / rate / SHAKE_S))
    at_s = np.arange(frames) / rate
    low, part = np.divmod(at_s / SHAKE_S, 1.0)
    ease = part * part * (3 - 2 * part)
    index = low.astype(int)
    return knots[index] * (1 - ease) + knots[index + 1] * ease
