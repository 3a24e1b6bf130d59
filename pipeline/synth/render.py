"""Draws a world: RGB frames, and from the segmentation the box of what is visible of an actor."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.synth.arrays import Pixels
from pipeline.synth.camera import HEIGHT_PIXELS, WIDTH_PIXELS
from pipeline.synth.script import Script
from pipeline.synth.world import CAMERA, World, load_mujoco, no_opengl

OVERSAMPLING = 2
"""Drawn that many times larger each way, then averaged: smoother than multisampling, and faster in Mesa."""
MIN_PIXELS = 4
"""Fewer visible pixels than that are no box."""

Box = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels, right and bottom edges exclusive."""


class Painter:
    """Draws the frames of one script; a context manager that frees OpenGL's memory.

    Raises RenderError when no OpenGL context can be had.
    """

    def __init__(self, script: Script) -> None:
        mujoco = load_mujoco()
        width, height = WIDTH_PIXELS * OVERSAMPLING, HEIGHT_PIXELS * OVERSAMPLING
        # PyOpenGL comes with MuJoCo; like it, it is imported only to draw.
        gl_error = importlib.import_module("OpenGL.error").Error
        self.script = script
        self.world = World(script, picture=(width, height))
        try:
            self._renderer: Any = mujoco.Renderer(self.world.model, height, width)
        except (ImportError, AttributeError, RuntimeError, mujoco.FatalError, gl_error) as error:
            raise no_opengl(error) from error

    def frames(self) -> Iterator[Pixels]:
        """Every frame in order, HWC uint8 RGB."""
        self._renderer.disable_segmentation_rendering()
        for frame in range(self.script.frames):
            yield shrink(self._draw(frame))

    def boxes(self, actor_index: int, start_frame: int, end_frame: int) -> list[Box | None]:
        """The actor's visible box in each frame of the span; None where hardly a pixel is seen."""
        self._renderer.enable_segmentation_rendering()
        boxes = []
        for frame in range(start_frame, end_frame):
            # Geoms are all that is drawn, so a pixel's object is a geom's number, or -1 for the sky.
            geoms = self._draw(frame)[..., 0]
            boxes.append(box_of((geoms >= 0) & (self.world.owner[geoms] == actor_index)))
        return boxes

    def _draw(self, frame: int) -> npt.NDArray[Any]:
        self.world.pose(frame)
        self._renderer.update_scene(self.world.data, CAMERA)
        return np.asarray(self._renderer.render())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._renderer.close()


def shrink(drawn: Pixels) -> Pixels:
    """Averages each block of an oversampled HWC uint8 picture, rounding half up."""
    area = OVERSAMPLING**2
    return ((_block_sums(drawn) + area // 2) // area).astype(np.uint8)


def box_of(mask: npt.NDArray[np.bool_]) -> Box | None:
    """The box of the source pixels that are covered to at least a half in an oversampled mask (h, w)."""
    covered = 2 * _block_sums(mask) >= OVERSAMPLING**2
    if covered.sum() < MIN_PIXELS:
        return None
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _block_sums(picture: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """(h * n, w * n, ...) to (h, w, ...): the sum over each block of n x n."""
    # Strided slices add faster than numpy reduces over short axes.
    n = OVERSAMPLING
    rows = sum((picture[k::n].astype(np.uint16) for k in range(1, n)), picture[::n].astype(np.uint16))
    return sum((rows[:, k::n] for k in range(1, n)), rows[:, ::n])
