"""A scan at a coarse level, smoothed: at most 128 voxels a side, in which walls are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2
from typing import Final, cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.resample import TILE, Resampler
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.region.region import CUBES, Floats
from ps3d_core.store.arrays import object_shape, read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, open_image

F32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

SIDE: Final = 128
_STEP: Final = 0.06
"""Slope that counts as a step, as a share of the scan's contrast per coarse voxel."""


@dataclass(frozen=True)
class Coarse:
    """Grey values on a coarse grid of a scan.

    grey: float32 (z, y, x), as they are.
    slope: float32 (3, z, y, x), gradient of the smoothed grey values in units of the scan's contrast, per voxel of y.
    factor: voxels of the scan per coarse voxel, (3,), along all axes in edges of a voxel along x.
    edges: those of a voxel of the scan in units of that along x, (3,).
    seen: where there is anything: bool (z, y, x), False in constant corners and at their rim.
    constant: where there is but one value, that of the corners.
    """

    grey: F32
    slope: F32
    factor: Floats
    edges: Floats
    seen: Flags
    constant: Flags

    @property
    def shape(self) -> Shape:
        """Of the coarse grid."""
        return cast(Shape, self.grey.shape)

    @property
    def steep(self) -> Flags:
        """Where grey values change: bool (z, y, x)."""
        return np.asarray((np.square(self.slope).sum(axis=0) > _STEP**2) & self.seen)

    def in_scan(self, index: Floats, axis: int) -> Floats:
        """Return the coordinate in the scan of coarse voxels along an axis."""
        return np.asarray((index + 0.5) * self.factor[axis] - 0.5 * self.edges[axis])

    @property
    def middle(self) -> float:
        """Coordinate of the middle of the scan along z."""
        return float(self.shape[0] * self.factor[0] - self.edges[0]) / 2

    @property
    def coordinates(self) -> tuple[Floats, Floats, Floats]:
        """Of all coarse voxels in the scan, voxels: arrays that broadcast to (z, y, x)."""
        z, y, x = (self.in_scan(np.arange(n, dtype=np.float64), axis) for axis, n in enumerate(self.shape))
        return z[:, None, None], y[:, None], x


def coarse_grey(image: Location, edges: Spacing = CUBES) -> tuple[F32, Floats]:
    """Return a scan at a coarse level, (z, y, x), and how many voxels each of it covers, (3,).

    Sides y and x are alike, z is by itself, so that short scans keep their slices. `edges` are those of a voxel in
    units of that along x, and what it covers is in these units, too.
    """
    scan = cast(Shape, open_image(image).shape)
    across = min(1.0, SIDE / max(n * edge for n, edge in zip(scan[1:], edges[1:], strict=True)))
    zooms = min(1.0, SIDE / scan[0]), across * edges[1], across
    shape = cast(Shape, tuple(max(1, round(n * zoom)) for n, zoom in zip(scan, zooms, strict=True)))
    array = open_image(_level(image, shape))
    _, *sides = object_shape(array)
    tile_y, tile_x = (side * ceil(TILE / side) for side in sides)
    resampler = Resampler(cast(Shape, array.shape), shape, (tile_y, tile_x))
    grey = resampler(lambda box: read_box(array, box), Box.of(shape))
    return grey, np.array(scan) * np.array(edges) / np.array(shape)


def looked_at(grey: F32, factor: Floats, smoothing: float, edges: Spacing = CUBES) -> Coarse:
    """Return what is known of coarse grey values (z, y, x) of which each covers `factor` voxels of the scan.

    `smoothing` is the standard deviation of a Gaussian, coarse voxels; `edges` are those of a voxel of the scan in
    units of that along x.
    """
    constant = _constant_corners(grey)
    seen = ~_widened(constant, 3)
    filled = np.where(constant, np.median(grey[~constant]) if not constant.all() else 0, grey).astype(np.float32)
    smooth = gaussian_filter(filled, [smoothing if n > 1 else 0 for n in grey.shape], mode="nearest")
    known = smooth[seen] if seen.any() else smooth
    low, high = np.percentile(known, [2, 98])
    contrast = max(float(high - low), np.finfo(np.float32).tiny)
    slope = np.zeros((3, *grey.shape), np.float32)
    for axis, n in enumerate(grey.shape):
        if n > 1:
            slope[axis] = np.gradient(smooth, axis=axis) * (factor[1] / factor[axis] / contrast)
    return Coarse(grey, slope, factor, np.array(edges), seen, constant)


def _constant_corners(grey: F32) -> Flags:
    """Where all slices have the value that most corners of the scan have in all of them; nowhere if these differ."""
    corners = grey[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    values, counts = np.unique(corners, return_counts=True)
    value = values[counts.argmax()]
    if counts.max() < corners.size / 2:
        return np.zeros(grey.shape, np.bool_)
    flat = (np.abs(grey - value) <= 1e-5 * max(1.0, abs(float(value)))).all(axis=0)
    return np.broadcast_to(flat, grey.shape)


def _widened(flags: Flags, by: int) -> Flags:
    """The `flags` and all within `by` voxels of them in their slices."""
    flat = flags.all(axis=0)
    return np.broadcast_to(binary_dilation(flat, iterations=by) if flat.any() else flat, flags.shape)


def _level(image: Location, shape: Shape) -> Location:
    """The coarsest level of an image that is still as fine as a grid of `shape`."""
    levels = image_levels(image)
    scan = open_image(levels[0]).shape
    most = min(n / of for n, of in zip(scan, shape, strict=True))
    for level in reversed(levels[1 : max(0, floor(log2(max(most, 1)))) + 1]):
        try:
            sides = open_image(level).shape
        except (MissingDataError, InputError):  # what the metadata of others promise need not be there
            continue
        if all(coarse >= n for coarse, n in zip(sides, shape, strict=True)):
            return level
    return levels[0]
