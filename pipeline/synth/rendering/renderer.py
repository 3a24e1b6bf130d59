"""Render a scene: RGB frames, and the boxes of the visible parts of actors from the segmentation."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.synth.arrays import Flags, Pixels
from pipeline.synth.rendering.world import World, load_mujoco, no_opengl
from pipeline.synth.scene.camera import HEIGHT_PIXELS, WIDTH_PIXELS
from pipeline.synth.scene.script import Script

OVERSAMPLING = 2
"""Frames are rendered this many times larger in each dimension and then averaged, which is faster in Mesa than
multisampling."""
MIN_PIXELS = 4
"""Minimum number of visible pixels for a box."""
MAX_SHAPES = 2000
"""Maximum number of shapes in a scene."""

Box = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels; x2 and y2 are exclusive."""


class Painter:
    """Renders the frames of one script. Use it as a context manager, which frees the OpenGL memory.

    Args:
        script: the scene.

    Raises:
        RenderError: no OpenGL context is available.
    """

    def __init__(self, script: Script) -> None:
        self._mujoco: Any = load_mujoco()
        width, height = WIDTH_PIXELS * OVERSAMPLING, HEIGHT_PIXELS * OVERSAMPLING
        # PyOpenGL is a dependency of MuJoCo; both are imported only for rendering.
        gl_error = importlib.import_module("OpenGL.error").Error
        self.script = script
        self.world = World(script, picture=(width, height))
        model = self.world.model
        try:
            self._opengl: Any = self._mujoco.GLContext(width, height)
            self._opengl.make_current()
            self._context: Any = self._mujoco.MjrContext(model, self._mujoco.mjtFontScale.mjFONTSCALE_50)
        except (ImportError, AttributeError, RuntimeError, self._mujoco.FatalError, gl_error) as error:
            raise no_opengl(error) from error
        self._mujoco.mjr_setBuffer(self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene: Any = self._mujoco.MjvScene(model, maxgeom=MAX_SHAPES)
        self._options: Any = self._mujoco.MjvOption()
        self._camera: Any = self._mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = self._mujoco.mjtCamera.mjCAMERA_FIXED, 0

    def picture(self, frame: int) -> Pixels:
        """Render one frame: HWC uint8 RGB."""
        return shrink(self._draw(frame, OVERSAMPLING))

    def boxes(self, frame: int, actors: Collection[int]) -> dict[int, Box | None]:
        """Compute the visible boxes of actors in one frame; None for fewer than MIN_PIXELS visible pixels."""
        owner = self.owners(frame)
        return {actor: box_of(owner == actor) for actor in actors}

    def owners(self, frame: int) -> npt.NDArray[np.int64]:
        """Return the index of the actor at each pixel's center, -1 for none: int64 (height, width)."""
        flags = self._scene.flags
        segment, idcolor = self._mujoco.mjtRndFlag.mjRND_SEGMENT, self._mujoco.mjtRndFlag.mjRND_IDCOLOR
        flags[segment] = flags[idcolor] = True
        drawn = self._draw(frame, 1).astype(np.int64)
        flags[segment] = flags[idcolor] = False
        numbers = drawn[..., 0] + 256 * drawn[..., 1] + 65536 * drawn[..., 2]
        # 0 is the background; shapes of the scene are numbered from 1.
        owners = np.full(self._scene.ngeom + 1, -1)
        for shape in self._scene.geoms[: self._scene.ngeom]:
            owners[shape.segid + 1] = self.world.owner[shape.objid]
        return owners[numbers]

    def _draw(self, frame: int, scale: int) -> Pixels:
        """Render a frame, `scale` times as large in each dimension."""
        self.world.pose(frame)
        category = self._mujoco.mjtCatBit.mjCAT_ALL
        self._mujoco.mjv_updateScene(
            self.world.model, self.world.data, self._options, None, self._camera, category, self._scene
        )
        area = self._mujoco.MjrRect(0, 0, WIDTH_PIXELS * scale, HEIGHT_PIXELS * scale)
        self._mujoco.mjr_render(area, self._scene, self._context)
        drawn = np.empty((area.height, area.width, 3), dtype=np.uint8)
        self._mujoco.mjr_readPixels(drawn, None, area, self._context)
        # In OpenGL the first row is at the bottom.
        return drawn[::-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.free()
        self._opengl.free()


def shrink(drawn: Pixels) -> Pixels:
    """Average each block of an oversampled HWC uint8 image, rounding half up."""
    n, area = OVERSAMPLING, OVERSAMPLING**2
    # Adding strided slices is faster than a numpy reduction over short axes.
    rows = sum((drawn[k::n].astype(np.uint16) for k in range(1, n)), drawn[::n].astype(np.uint16))
    sums = sum((rows[:, k::n] for k in range(1, n)), rows[:, ::n])
    return ((sums + area // 2) // area).astype(np.uint8)


def box_of(mask: Flags) -> Box | None:
    """Return the bounding box of a mask, bool (height, width); None if it has fewer than MIN_PIXELS pixels."""
    if mask.sum() < MIN_PIXELS:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
