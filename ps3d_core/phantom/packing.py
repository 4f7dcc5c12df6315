"""Where the particles lie: a list of stretched, rotated shapes pushed apart until they merely touch.

Particles start at random places of a region somewhat larger than the volume (the volume is a window into the scene,
so its faces cut particles); `relaxation` then pushes them apart. The list is made up front, in one thread and one
order; its size is that of the particles, never that of the volume.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.region import make_region, random_points
from ps3d_core.phantom.relaxation import relax
from ps3d_core.phantom.shapes import Bank

MOST_PARTICLES = 20_000_000

F64 = npt.NDArray[np.float64]


class Packing(NamedTuple):
    """The particles in the order of their ids (row i is id i + 1), sorted along z; n rows.

    centre: (n, 3) float64, voxels; radius: (n,) float64, of the sphere of equal volume, voxels;
    frame: (n, 3, 3) float64, turns offsets in voxels into the unit space of the prototype;
    prototype: (n,) int64, row of the bank; reach: (n,) float64, radius of a sphere around the particle, voxels.
    """

    centre: F64
    radius: F64
    frame: F64
    prototype: npt.NDArray[np.int64]
    reach: F64

    def take(self, rows: npt.NDArray[np.int64]) -> Packing:
        """Return copies of the particles `rows`, in that order."""
        return Packing(self.centre[rows], self.radius[rows], self.frame[rows], self.prototype[rows], self.reach[rows])


def pack(params: PhantomParams, bank: Bank) -> Packing:
    """Draw and arrange the particles of a phantom.

    Raise InputError when there would be more than MOST_PARTICLES, or when tube and walls leave no
    room.
    """
    rng = np.random.default_rng([params.seed, 2])
    region, volume = make_region(params)
    radius = _radii(params, rng, volume * params.fill_fraction)
    n = len(radius)
    centre = random_points(rng, n, region)
    prototype = rng.integers(0, len(bank.cuts), n)
    stretch = _stretches(params, rng, n)
    frame = np.swapaxes(_rotations(rng, n), 1, 2) / (stretch * radius[:, None])[:, :, None]
    reach = bank.ball[prototype] * radius * stretch.max(axis=1)
    packing = Packing(centre, radius, frame, prototype, reach)
    relax(packing, bank, region, params)
    order = np.flatnonzero(_visible(params, packing))
    order = order[np.argsort(centre[order, 0], kind="stable")]
    return packing.take(order)


def _radii(params: PhantomParams, rng: np.random.Generator, volume: float) -> F64:
    """Log-normal radii, as many as fill `volume`; their mean is exactly half the particle size."""
    sigma = params.size_sigma
    mean = params.particle_size_voxels / 2
    # E[d^3] = E[d]^3 exp(3 sigma^2) for a log-normal d
    expected = 4 / 3 * np.pi * mean**3 * np.exp(3 * sigma**2)
    if volume / expected > MOST_PARTICLES:
        raise InputError(
            f"{volume / expected:.0f} particles: at most {MOST_PARTICLES} can be listed; "
            "give a larger particle size or a smaller shape"
        )
    n = max(1, round(volume / expected))
    relative = np.clip(np.exp(sigma * rng.standard_normal(n)), 0.3, 3.0)
    return np.asarray(relative * (mean / relative.mean()))


def _stretches(params: PhantomParams, rng: np.random.Generator, n: int) -> F64:
    """Three semi-axes per particle with product 1: longest / middle up to elongation, middle / shortest to flatness."""
    least = params.least_aspect
    long = 1 + (params.elongation - 1) * (least + (1 - least) * rng.random(n))
    flat = 1 + (params.flatness - 1) * (least + (1 - least) * rng.random(n))
    axes = np.stack([long * flat, flat, np.ones(n)], axis=1)
    return np.asarray(axes / np.cbrt(axes.prod(axis=1))[:, None])


def _rotations(rng: np.random.Generator, n: int) -> F64:
    """Uniform random rotations, from normalised Gaussian quaternions."""
    q = rng.standard_normal((n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.asarray(np.moveaxis(np.asarray(rows), -1, 0))


def _visible(params: PhantomParams, packing: Packing) -> npt.NDArray[np.bool_]:
    """Particles that can touch the volume or blur into it."""
    halo = packing.reach[:, None] * (1 + params.lumpiness) + 16.0
    inside = (packing.centre + halo > 0) & (packing.centre - halo < np.asarray(params.shape))
    return np.asarray(np.all(inside, axis=1))
