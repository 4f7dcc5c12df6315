"""Where the centres of particles may lie: a box somewhat larger than the volume, within the tube and the flat walls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.phantom.params import PhantomParams

F64 = npt.NDArray[np.float64]

_MARGIN = 1.2  # mean diameters beyond the volume, whose faces thus cut particles
_ROUNDS = 200
_FINE = 96


class Region(NamedTuple):
    """Bounds of centres, float64, voxels.

    low, high: (3,) lowest and highest corner (z, y, x); cylinder: (6,) y, x and radius, the z where they hold, and the
    shift of y and x per slice (radius 0: none); planes: (n, 4) unit normals that point out, and their offsets.
    """

    low: F64
    high: F64
    cylinder: F64
    planes: F64


def make_region(params: PhantomParams) -> tuple[Region, float]:
    """Return the region of a phantom's particles and its volume in voxels.

    Raise InputError when tube and walls leave no room in the volume.
    """
    margin = _MARGIN * params.particle_size_voxels
    low = np.full(3, -margin)
    high = np.asarray(params.shape, dtype=np.float64) - 1 + margin
    region = Region(low, high, np.zeros(6), wall_planes(params))
    if params.tube is not None:
        region.cylinder[:] = (*params.tube_axis, params.tube.radius_voxels, params.centre[0], *params.tube.tilt)
        ends = region.cylinder[:2] + np.outer([low[0] - params.centre[0], high[0] - params.centre[0]], params.tube.tilt)
        low[1:] = np.maximum(low[1:], ends.min(axis=0) - region.cylinder[2])
        high[1:] = np.minimum(high[1:], ends.max(axis=0) + region.cylinder[2])
        if np.any(high <= low):
            raise InputError(
                f"centre offset of the tube {params.tube.centre_offset_voxels} voxels: it lies outside the volume "
                f"{params.shape}; give a smaller offset"
            )
    return region, float(np.prod(high - low)) * max(_share(region), 1e-3)


def wall_planes(params: PhantomParams) -> F64:
    """Return the inner faces of the flat walls, (n, 4) float64.

    Rows are the unit normal that points out, and the offset along it; p lies inside where normal . p < offset.
    """
    planes = np.zeros((len(params.walls), 4))
    for row, wall in zip(planes, params.walls, strict=True):
        row[:3] = np.asarray(wall.normal) / np.linalg.norm(wall.normal)
        row[3] = row[:3] @ np.asarray(params.centre) + wall.offset_voxels
    return planes


def random_points(rng: np.random.Generator, n: int, region: Region) -> F64:
    """Return n random points of the region, (n, 3); points outside tube or walls are drawn again, 200 times at most."""
    points = rng.uniform(region.low, region.high, (n, 3))
    if region.cylinder[2] > 0 or len(region.planes):
        for _ in range(_ROUNDS):
            out = np.flatnonzero(_outside(points, region))
            if not len(out):
                break
            points[out] = rng.uniform(region.low, region.high, (len(out), 3))
    return points


def _outside(points: F64, region: Region) -> npt.NDArray[np.bool_]:
    cylinder = region.cylinder
    out = np.zeros(points.shape[:-1], np.bool_)
    if cylinder[2] > 0:
        axis = cylinder[:2] + (points[..., :1] - cylinder[3]) * cylinder[4:]
        out |= ((points[..., 1:] - axis) ** 2).sum(-1) > cylinder[2] ** 2
    for plane in region.planes:
        out |= points @ plane[:3] > plane[3]
    return out


def _share(region: Region) -> float:
    """Share of the box from `low` to `high` that lies within tube and walls, by counting points of a grid."""
    if not (region.cylinder[2] > 0 or len(region.planes)):
        return 1.0
    if region.cylinder[4:].any() or len(region.planes):
        middles = (np.arange(_FINE) + 0.5) / _FINE
        lines = [a + (b - a) * middles for a, b in zip(region.low, region.high, strict=True)]
    else:
        lines = [
            region.low[:1],
            *(np.linspace(a, b, 200) for a, b in zip(region.low[1:], region.high[1:], strict=True)),
        ]
    return 1.0 - float(np.mean(_outside(np.stack(np.meshgrid(*lines, indexing="ij"), -1), region)))
