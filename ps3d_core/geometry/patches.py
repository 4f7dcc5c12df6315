"""Where the network looks: one global grid of patch origins per axis, shared by all blocks.

origins 0, stride, 2 stride, ..., the last one clamped so that its patch ends at the volume's face; or as many, evenly
spread
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Box, Shape, turned

LEAST: Final = 2
"""Multiples of a network's downsampling in the shallowest patch."""


def fitted_patch(shape: Shape, patch: Shape, multiple: Shape) -> Shape:
    """Return a patch that is no larger than a volume of `shape` needs along each axis.

    Sides are those of `patch`, or along axes thinner than that the next multiple of `multiple`, at least `LEAST` of it.
    """
    sides = zip(shape, patch, multiple, strict=True)
    z, y, x = (min(side, step * max(LEAST, ceil(n / step))) for n, side, step in sides)
    return z, y, x


def axis_origins(length: int, patch: int, stride: int, even: bool = False) -> tuple[int, ...]:
    """Return the patch origins along an axis of `length` voxels, ascending.

    There is one origin, 0, when the patch covers the axis. Origins are at multiples of `stride` and at the end, or with
    `even` so many at equal distances, which then are `stride` at most.
    """
    if length <= patch:
        return (0,)
    if even:
        steps = ceil((length - patch) / stride)
        return tuple(i * (length - patch) // steps for i in range(steps + 1))
    origins = list(range(0, length - patch, stride))
    return (*origins, length - patch)


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """All patches of a volume. `shape` is the network grid; axes thinner than a patch are padded by reflection."""

    shape: Shape
    patch: Shape
    stride: Shape
    even: bool = False

    @property
    def padded_shape(self) -> Shape:
        """Shape of the volume that the patches tile: at least one patch along every axis."""
        z, y, x = (max(n, p) for n, p in zip(self.shape, self.patch, strict=True))
        return z, y, x

    @property
    def origins(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Origins of the patches per axis, on the padded grid."""
        axes = zip(self.padded_shape, self.patch, self.stride, strict=True)
        z, y, x = (axis_origins(n, p, s, self.even) for n, p, s in axes)
        return z, y, x

    def __len__(self) -> int:
        return prod(len(axis) for axis in self.origins)

    def padding_before(self, axis: int) -> int:
        """Return how many voxels of reflection are before the first voxel of the volume along `axis`."""
        return (self.padded_shape[axis] - self.shape[axis]) // 2

    def to_padded(self, box: Box) -> Box:
        """Return a box of the network grid in padded coordinates."""
        return box.shift((self.padding_before(0), self.padding_before(1), self.padding_before(2)))

    def turned(self, axis: int) -> PatchGrid:
        """Return the patches of the volume whose axes z and `axis` are swapped, see `boxes.turned`."""
        return PatchGrid(turned(self.shape, axis), turned(self.patch, axis), turned(self.stride, axis), self.even)

    def reflection(self, box: Box) -> tuple[Box, tuple[npt.NDArray[np.int64], ...]]:
        """Return the box of the network grid that a `box` of the padded grid shows, and the index in it of every voxel.

        Indices are one array per axis, (z,), (y,) and (x,) int64.
        """
        along = [self.reflected(axis, a, b) for axis, (a, b) in enumerate(zip(box.start, box.stop, strict=True))]
        z, y, x = (int(index.min()) for index in along)
        shown = Box((z, y, x), (int(along[0].max()) + 1, int(along[1].max()) + 1, int(along[2].max()) + 1))
        return shown, tuple(index - start for index, start in zip(along, shown.start, strict=True))

    def touching(self, axis: int, start: int, stop: int) -> tuple[int, ...]:
        """Return the origins along `axis` whose patch covers a voxel of start..stop (padded coordinates)."""
        return tuple(o for o in self.origins[axis] if o < stop and o + self.patch[axis] > start)

    def reflected(self, axis: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the network-grid index of every padded index start..stop along `axis`, int64.

        Reflection does not repeat the edge.
        """
        n = self.shape[axis]
        index = np.arange(start, stop) - self.padding_before(axis)
        if n == 1:
            return np.zeros_like(index)
        period = 2 * (n - 1)
        folded = np.abs(index) % period
        return np.where(folded < n, folded, period - folded)
