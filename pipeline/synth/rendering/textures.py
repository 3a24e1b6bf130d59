"""Random textures: grass, paving, boards, bricks and plaster. All tile without seams."""

from __future__ import annotations

import numpy as np

from pipeline.synth.arrays import Floats, Pixels, Rgb
from pipeline.synth.scene.script import Place

SIDE_PIXELS = 256


def ground_texture(rng: np.random.Generator, place: Place, rgb: Rgb) -> Pixels:
    """Generate the ground of a place with mean color `rgb`: (256, 256, 3) uint8."""
    if place == "park":
        return _tint(0.12 * _noise(rng, 8, 6) + 0.12 * _noise(rng, 64, 2), rgb)
    if place == "yard":
        return _tint(_tiles(rng, rows=4, columns=4, shift=0.0) + 0.10 * _noise(rng, 16, 4), rgb)
    grain = np.repeat(_noise(rng, 4, 6)[:, ::32], 32, axis=1)
    return _tint(_tiles(rng, rows=8, columns=2, shift=0.5) + 0.10 * grain, rgb)


def wall_texture(rng: np.random.Generator, place: Place, rgb: Rgb) -> Pixels:
    """Generate the wall of a place with mean color `rgb`: (256, 256, 3) uint8."""
    if place == "yard":
        return _tint(_tiles(rng, rows=12, columns=4, shift=0.5) + 0.06 * _noise(rng, 32, 3), rgb)
    return _tint(0.05 * _noise(rng, 4, 6), rgb)


def _tint(lightness: Floats, rgb: Rgb) -> Pixels:
    """Apply `lightness` (side, side), with mean 0, as a relative change of `rgb`."""
    colours = np.array(rgb) * (1.0 + lightness[..., None])
    return np.round(255 * np.clip(colours, 0.0, 1.0)).astype(np.uint8)


def _noise(rng: np.random.Generator, cells: int, octaves: int) -> Floats:
    """Generate smooth noise (side, side) with mean 0 and standard deviation 1."""
    total = np.zeros((SIDE_PIXELS, SIDE_PIXELS))
    for octave in range(octaves):
        count = min(cells * 2**octave, SIDE_PIXELS)
        lattice = rng.standard_normal((count, count))
        at = np.arange(SIDE_PIXELS) * count / SIDE_PIXELS
        low = at.astype(int)
        part = at - low
        rows = lattice[low] * (1 - part)[:, None] + lattice[(low + 1) % count] * part[:, None]
        total += (rows[:, low] * (1 - part) + rows[:, (low + 1) % count] * part) / 1.5**octave
    total -= total.mean()
    return np.asarray(total / total.std())


def _tiles(rng: np.random.Generator, *, rows: int, columns: int, shift: float) -> Floats:
    """Generate tiles of varying lightness with dark joints; every second row is offset by `shift` tile widths."""
    pixel = np.arange(SIDE_PIXELS)
    row, row_part = np.divmod(pixel * rows / SIDE_PIXELS, 1.0)
    along = (pixel[None] * columns / SIDE_PIXELS + shift * (row[:, None] % 2)) % columns
    column, column_part = np.divmod(along, 1.0)
    lightness = 0.09 * rng.standard_normal((rows, columns))
    joint_rows = np.minimum(row_part, 1 - row_part) * SIDE_PIXELS / rows < 1.2
    joint_columns = np.minimum(column_part, 1 - column_part) * SIDE_PIXELS / columns < 1.2
    tiles = lightness[row.astype(int)[:, None], column.astype(int)]
    return np.where(joint_rows[:, None] | joint_columns, -0.35, tiles)
