"""A script as a MuJoCo model. Each frame sets all poses; physics is not simulated."""

from __future__ import annotations

import importlib
import math
import os
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RenderError
from pipeline.synth.rendering.bodies import figure
from pipeline.synth.rendering.mjcf import Pen, text
from pipeline.synth.rendering.poses import poses
from pipeline.synth.rendering.textures import SIDE_PIXELS, ground_texture, wall_texture
from pipeline.synth.scene.script import Prop, Script, Stage

CAMERA = "camera"
SHADOW_PIXELS = 768
"""Side of the shadow map in pixels."""
EXTENT_M = 12
"""Half the side of the shadow map in meters. It extends beyond the view because its border has artifacts."""
BARK = (0.27, 0.19, 0.13)


def load_mujoco() -> ModuleType:
    """Import MuJoCo for off-screen rendering, with EGL unless MUJOCO_GL is set.

    Raises:
        RenderError: MuJoCo is not installed or finds no OpenGL.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        return importlib.import_module("mujoco")
    except ModuleNotFoundError as error:
        if error.name != "mujoco":
            raise no_opengl(error) from error
        raise RenderError("cannot render videos: MuJoCo is not installed; pip install 'gkcmn-pipe[synth]'") from error
    # PyOpenGL raises AttributeError for a missing library; MuJoCo raises RuntimeError for an unknown MUJOCO_GL.
    except (ImportError, AttributeError, RuntimeError) as error:
        raise no_opengl(error) from error


def no_opengl(error: Exception) -> RenderError:
    """Build the error for a machine without OpenGL; `error` is the cause."""
    return RenderError(
        f"cannot render videos: no off-screen OpenGL with MUJOCO_GL={os.environ.get('MUJOCO_GL')} "
        f"({' '.join(str(error).split())}); apt-get install libegl1 libgl1-mesa-dri, and unset MUJOCO_GL"
    )


class World:
    """The MuJoCo model of one script, and the state that `pose` sets.

    `owner` int64 (ngeom,) contains the actor's index for each MuJoCo geom, -1 for none.
    """

    def __init__(self, script: Script, *, picture: tuple[int, int]) -> None:
        """Build the model.

        Args:
            script: the scene.
            picture: width and height of the render buffer in pixels.
        """
        mujoco = load_mujoco()
        self.model: Any = mujoco.MjModel.from_xml_string(scene_mjcf(script, picture))
        self.data: Any = mujoco.MjData(self.model)
        self._mujoco = mujoco
        rng = np.random.default_rng(script.stage.texture_seed)
        stage = script.stage
        self._paint("ground", ground_texture(rng, stage.place, stage.ground_rgb))
        self._paint("wall", wall_texture(rng, stage.place, stage.wall_rgb))
        names = [f"actor{index}" for index in range(len(script.actors))]
        roots = [self.model.body(name).id for name in names]
        geom_roots = self.model.body_rootid[self.model.geom_bodyid]
        self.owner: npt.NDArray[np.int64] = np.full(self.model.ngeom, -1)
        for index, root in enumerate(roots):
            self.owner[geom_roots == root] = index
        joints = {
            f"{name}/{joint}": angles
            for index, name in enumerate(names)
            for joint, angles in poses(script, index).items()
        }
        self._addresses = [int(self.model.joint(joint).qposadr[0]) for joint in joints]
        self._angles = np.stack(list(joints.values()), axis=1)
        # MuJoCo cameras look along -z.
        self._axes = script.camera.axes() * np.array([1.0, 1.0, -1.0])[:, None]

    def pose(self, frame: int) -> None:
        """Set all joints and the camera to their values in a frame."""
        self.data.qpos[self._addresses] = self._angles[frame]
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_comPos(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)
        self.data.cam_xmat[0] = self._axes[frame].T.ravel()

    def _paint(self, texture: str, pixels: npt.NDArray[np.uint8]) -> None:
        start = int(self.model.texture(texture).adr[0])
        self.model.tex_data[start : start + pixels.size] = pixels.reshape(-1)


def scene_mjcf(script: Script, picture: tuple[int, int]) -> str:
    """Write the MJCF of a script with blank textures; `picture` is (width, height) in pixels."""
    camera, stage = script.camera, script.stage
    figures = "".join(figure(actor, f"actor{index}") for index, actor in enumerate(script.actors))
    blank = f'type="2d" builtin="flat" width="{SIDE_PIXELS}" height="{SIDE_PIXELS}"'
    return f"""<mujoco>
  <statistic extent="{EXTENT_M}" center="0 6.5 1"/>
  <visual>
    <global offwidth="{picture[0]}" offheight="{picture[1]}"/>
    <quality offsamples="0" shadowsize="{SHADOW_PIXELS}" numslices="10" numstacks="6"/>
    <map znear="0.02" zfar="8" shadowclip="1" haze="0.25"/>
    <rgba haze="0.80 0.85 0.90 1"/>
    <headlight ambient="0.34 0.34 0.36" diffuse="0.20 0.20 0.20" specular="0 0 0"/>
  </visual>
  <default><geom contype="0" conaffinity="0" mass="1" material="matte"/></default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" width="64" height="384"
      rgb1="0.80 0.86 0.92" rgb2="0.28 0.50 0.80"/>
    <texture name="ground" {blank}/>
    <texture name="wall" {blank}/>
    <material name="matte" specular="0.05" shininess="0.1"/>
    <material name="ground" texture="ground" texrepeat="{_repeat(stage)}" texuniform="true" specular="0"/>
    <material name="wall" texture="wall" texrepeat="0.4 0.4" texuniform="true" specular="0"/>
  </asset>
  <worldbody>
    {_sun(stage)}
    <camera name="{CAMERA}" pos="0 0 {camera.height_m:.5f}" fovy="{camera.fov_deg:.5f}"/>
    <geom type="plane" size="0 0 1" material="ground"/>
    {_wall(stage)}
    {"".join(_prop(prop) for prop in stage.props)}
    {figures}
  </worldbody>
</mujoco>"""


def _repeat(stage: Stage) -> str:
    """Return the texture repeats per meter. Repeats are hard to see in grass, so its texture is larger."""
    return "0.35 0.35" if stage.place == "park" else "0.5 0.5"


def _sun(stage: Stage) -> str:
    azimuth, elevation = (math.radians(angle) for angle in stage.sun_deg)
    flat = math.cos(elevation)
    towards = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
    at = np.array([0.0, 7.0, 0.0]) + 14 * towards
    return (
        f'<light directional="true" castshadow="true" pos="{text(at.tolist())}" '
        f'dir="{text((-towards).tolist())}" diffuse="0.66 0.64 0.58" specular="0.15 0.15 0.15"/>'
    )


def _wall(stage: Stage) -> str:
    if stage.place == "park":
        return ""
    height_m = 2.4 if stage.place == "yard" else 9.0
    # Only the front of a plane is visible; its z axis points at the camera.
    return (
        f'<geom type="plane" pos="0 {stage.wall_distance_m:.5f} {height_m / 2:.5f}" '
        f'size="40 {height_m / 2:.5f} 1" xyaxes="1 0 0 0 0 1" material="wall"/>'
    )


def _prop(prop: Prop) -> str:
    x, y = prop.at_m
    height = prop.height_m
    rgba = f'rgba="{text(prop.rgb)} 1"'
    if prop.kind == "crate":
        half = height / 2
        return f'<geom type="box" pos="{x:.5f} {y:.5f} {half:.5f}" size="{text([half] * 3)}" {rgba}/>'
    if prop.kind == "chair":
        return _chair(prop)
    if prop.kind == "bush":
        size = text((0.9 * height, 0.7 * height, 0.6 * height))
        return f'<geom type="ellipsoid" pos="{x:.5f} {y:.5f} {0.4 * height:.5f}" size="{size}" {rgba}/>'
    crowns = "".join(
        f'<geom type="ellipsoid" pos="{text((x + dx * height, y + dy * height, z * height))}" '
        f'size="{text((wide * height, wide * height, tall * height))}" {rgba}/>'
        for dx, dy, z, wide, tall in (
            (0.0, 0.0, 0.74, 0.20, 0.26),
            (-0.13, -0.04, 0.58, 0.15, 0.16),
            (0.14, 0.02, 0.62, 0.15, 0.17),
        )
    )
    trunk = text((x, y, 0, x, y, 0.6 * height))
    return f'<geom type="cylinder" fromto="{trunk}" size="{0.03 * height:.5f}" rgba="{text(BARK)} 1"/>{crowns}'


def _chair(prop: Prop) -> str:
    """Write a chair that faces the camera."""
    pen = Pen(scale=prop.height_m, name="chair")
    legs = "".join(pen.limb((x, y, 0), (x, y, 0.48), 0.03, prop.rgb) for x in (-0.2, 0.2) for y in (-0.2, 0.2))
    seat = pen.block((0, 0, 0.5), (0.25, 0.25, 0.03), prop.rgb)
    back = pen.block((0, 0.22, 0.78), (0.23, 0.025, 0.20), prop.rgb)
    posts = "".join(pen.limb((x, 0.22, 0.5), (x, 0.22, 0.95), 0.03, prop.rgb) for x in (-0.2, 0.2))
    return f'<body pos="{prop.at_m[0]:.5f} {prop.at_m[1]:.5f} 0">{legs}{seat}{back}{posts}</body>'
