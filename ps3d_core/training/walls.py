"""Walls put into training patches.

A container's wall has the grey value of particles, and a patch sees so little of it that it looks like the side of a
very large one. Phantoms hold walls, but rarely one as wide and as thick as a real tube around many particles, so some
patches get one: particles on its inner side, air on the outer, background all of it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_RADIUS: Final = (40.0, 600.0)  # of the inner surface, voxels
_THICKNESS: Final = (6.0, 80.0)
_GREY: Final = (-0.2, 2.0)  # normalised; particles are at about 1
_SOFTNESS: Final = (0.4, 1.2)  # width of the blurred surface, voxels


def with_wall(
    image: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.uint16], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Return a patch (float32) and its labels with a random cylindrical wall along z.

    Particles are cut off at its inner surface.
    """
    grey = image.astype(np.float32)
    beyond = _distance_beyond(image.shape[1:], rng)
    softness = rng.uniform(*_SOFTNESS)
    replaced = _step(beyond, softness)
    outside = _step(beyond - _log_uniform(rng, _THICKNESS), softness)
    air = float(np.percentile(grey, 5))
    filling = rng.uniform(*_GREY) * (replaced - outside) + air * outside
    result = grey * (1 - replaced) + filling + _noise_like(grey, rng) * replaced
    return result.astype(np.float32), np.where(beyond > 0, np.uint16(0), labels)


def _distance_beyond(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Distance of each (y, x) beyond the inner surface of a cylinder that passes somewhere near the middle."""
    radius = _log_uniform(rng, _RADIUS)
    angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(-0.6, 0.5) * max(shape) - radius
    y, x = np.ogrid[: shape[0], : shape[1]]
    centre_y, centre_x = shape[0] / 2 + shift * np.sin(angle), shape[1] / 2 + shift * np.cos(angle)
    return np.asarray(np.hypot(y - centre_y, x - centre_x) - radius)


def _step(distance: npt.NDArray[np.float64], softness: float) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(distance / softness, -30, 30))))


def _noise_like(grey: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise about as strong as the patch's own, which differences of neighbours tell, and differently grained."""
    strength = np.median(np.abs(np.diff(grey, axis=2))) / 0.6745 / np.sqrt(2) * rng.uniform(0.8, 1.6)
    noise = ndimage.gaussian_filter(rng.standard_normal(grey.shape, dtype=np.float32), rng.uniform(0.0, 0.9))
    return np.asarray(noise * (strength / noise.std()), dtype=np.float32)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    low, high = np.log(limits)
    return float(np.exp(rng.uniform(low, high)))
