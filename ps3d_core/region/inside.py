"""Which voxels of a grid are inside of a region: of any box, and the same whatever the box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from operator import mul
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import PerAxis, per_axis
from ps3d_core.region.region import Coordinates, Floats, Region
from ps3d_core.store.arrays import read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

Flags = npt.NDArray[np.bool_]


PIECE: Final = 64
"""Side of the pieces in which a box is worked on: coordinates take more memory than flags."""


@dataclass(frozen=True)
class GridRegion:
    """A region on a grid that covers the scan: its network grid, or its own. Small and picklable.

    region: in voxels of the scan, or edges of a voxel along x where voxels are no cubes.
    scan: shape of the scan.
    grid: shape of the grid.
    """

    region: Region
    scan: Shape
    grid: Shape

    def inside(self, box: Box, margin: PerAxis = 0.0) -> Flags:
        """Return which voxels of a `box` of the grid are inside, bool (z, y, x).

        With a `margin`, in voxels of the scan along its axes, only those that far from every bound: from the bounds of
        a mask along the axes, from others by the longest of the three.
        """
        flags, away = np.ones(box.shape, np.bool_), max(map(mul, per_axis(margin), self.region.edges))
        for piece in _pieces(box):
            here = flags[piece.relative_to(box).slices]
            z, y, x = (self._along(axis, piece) for axis in range(3))
            at = self._lengths(z[:, None, None], y[:, None], x)
            for bound in self.region.bounds:
                here &= bound.beyond(at) <= -away
            if self.region.mask is not None:
                here &= self._masked((z, y, x), per_axis(margin))
        return flags

    def is_outside(self, box: Box) -> bool:
        """Return whether no voxel of a `box` of the grid is inside; of boxes at the edge that may not be noticed."""
        z, y, x = (self._along(axis, box) for axis in range(3))
        low, high = (np.array([values[end] for values in self._lengths(z, y, x)]) for end in (0, -1))
        if any(bound.least_beyond(low, high) > 0 for bound in self.region.bounds):
            return True
        return self.region.mask is not None and not self._mask_at((z, y, x)).any()

    def _along(self, axis: int, box: Box) -> Floats:
        """Coordinates in the scan of the voxels of a box along one axis."""
        index = np.arange(box.start[axis], box.stop[axis])
        return np.asarray((index + 0.5) * (self.scan[axis] / self.grid[axis]) - 0.5)

    def _lengths(self, z: Floats, y: Floats, x: Floats) -> Coordinates:
        """Coordinates in voxels as the bounds have them."""
        edges = self.region.edges
        return z * edges[0], y * edges[1], x * edges[2]

    def _masked(self, at: Coordinates, margin: tuple[float, float, float]) -> Flags:
        """Mask at these coordinates, (z, y, x), and as far as `margin` from them along the axes."""
        flags = self._mask_at(at)
        for axis, sign in product(range(3), (-1, 1) if any(margin) else ()):
            moved = [each + sign * margin[axis] if axis == own else each for own, each in enumerate(at)]
            flags &= self._mask_at((moved[0], moved[1], moved[2]))
        return flags

    def _mask_at(self, at: Coordinates) -> Flags:
        sides = zip(at, self._mask.shape, self.scan, strict=True)
        index = [np.clip(np.floor((each + 0.5) / round(of / n)).astype(np.int64), 0, n - 1) for each, n, of in sides]
        start, stop = ([int(each[end]) for each in index] for end in (0, -1))
        seen = Box((start[0], start[1], start[2]), (stop[0] + 1, stop[1] + 1, stop[2] + 1))
        values = read_box(self._mask, seen) != 0
        return np.asarray(values[np.ix_(*(each - first for each, first in zip(index, start, strict=True)))])

    def __reduce__(self) -> tuple[type[GridRegion], tuple[Region, Shape, Shape]]:
        """Leave the mask that was opened here behind: workers open their own."""
        return GridRegion, (self.region, self.scan, self.grid)

    @cached_property
    def _mask(self) -> zarr.Array[Any]:
        return open_image(Location.parse(self.region.mask.place if self.region.mask else ""))


def _pieces(box: Box) -> Iterator[Box]:
    """The box in pieces of at most `PIECE` voxels a side."""
    for z, y, x in product(*(range(a, b, PIECE) for a, b in zip(box.start, box.stop, strict=True))):
        yield Box((z, y, x), (z + PIECE, y + PIECE, x + PIECE)).intersect(box)
