"""Walls put into training patches.

A container's wall has the grey value of particles, and a patch sees so little of it that it looks like the side of a
very large one. Phantoms hold walls, but rarely one as wide and as thick as a real tube around many particles, so some
patches get one: particles on its inner side, air on the outer, background all of it. Many patches show the outer side
alone, where beam hardening makes walls brighter and their edge looks like that of a particle.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ps3d_core.phantom.draws import log_uniform

_RADIUS: Final = (40.0, 2000.0)  # of the inner surface, voxels; the largest are all but flat in a patch
_TILT: Final = 0.35  # largest shift of the axis per slice
_TILTED: Final = 0.5
_THICKNESS: Final = (6.0, 80.0)
_OUTER_FACE: Final = 0.4  # share of the walls whose outer face passes the patch, instead of the inner one
_GREY: Final = (-0.2, 2.0)  # normalised; particles are at about 1
_RIM: Final = (-0.3, 1.0)  # added towards the outer face
_COARSEST: Final = 1.5  # standard deviation of the blur that grains the noise, voxels
_SOFTNESS: Final = (0.4, 1.2)  # width of the blurred surface, voxels


def with_wall(
    image: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.uint16], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Return a patch (float32) and its labels with a random cylindrical wall, along z or tilted.

    Particles are cut off at its inner surface.
    """
    grey = image.astype(np.float32)
    thickness = log_uniform(rng, _THICKNESS)
    beyond = _distance_beyond(image.shape, thickness if rng.random() < _OUTER_FACE else 0.0, rng)
    softness = rng.uniform(*_SOFTNESS)
    replaced = _step(beyond, softness)
    outside = _step(beyond - thickness, softness)
    air = float(np.percentile(grey, 5))
    solid = rng.uniform(*_GREY) + rng.uniform(*_RIM) * np.clip(beyond / thickness, 0.0, 1.0) ** 4
    filling = solid * (replaced - outside) + air * outside
    result = grey * (1 - replaced) + filling + _noise_like(grey, rng) * replaced
    return result.astype(np.float32), np.where(beyond > 0, np.uint16(0), labels)


def _distance_beyond(shape: tuple[int, ...], nearer: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Distance of each (z, y, x) beyond the inner face; `nearer` voxels further out it passes near the middle."""
    radius = log_uniform(rng, _RADIUS)
    angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(-0.6, 0.5) * max(shape) - radius - nearer
    tilt_y, tilt_x = rng.uniform(-_TILT, _TILT, 2) * (rng.random() < _TILTED)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    dy = y - shape[1] / 2 - shift * np.sin(angle) - tilt_y * (z - shape[0] / 2)
    dx = x - shape[2] / 2 - shift * np.cos(angle) - tilt_x * (z - shape[0] / 2)
    along = (dy * tilt_y + dx * tilt_x) / np.sqrt(1 + tilt_y**2 + tilt_x**2)
    return np.asarray(np.sqrt(np.maximum(dy**2 + dx**2 - along**2, 0)) - radius)


def _step(distance: npt.NDArray[np.float64], softness: float) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(distance / softness, -30, 30))))


def _noise_like(grey: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise whose neighbours differ about as much as the patch's own do, and differently grained."""
    noise = ndimage.gaussian_filter(rng.standard_normal(grey.shape, dtype=np.float32), rng.uniform(0.0, _COARSEST))
    wanted, given = (np.median(np.abs(np.diff(volume, axis=2))) for volume in (grey, noise))
    return np.asarray(noise * (wanted / given * rng.uniform(0.8, 1.6)), dtype=np.float32)
