"""Where the network looks: one global grid of patch origins per axis, shared by all blocks.

origins 0, stride, 2 stride, ..., the last one clamped so that its patch ends at the volume's face
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Box, Shape, turned


def axis_origins(length: int, patch: int, stride: int) -> tuple[int, ...]:
    """Return the patch origins along an axis of `length` voxels, ascending.

    There is one origin, 0, when the patch covers the axis.
    """
    if length <= patch:
        return (0,)
    origins = list(range(0, length - patch, stride))
    return (*origins, length - patch)


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """All patches of a volume. `shape` is the network grid; axes thinner than a patch are padded by reflection."""

    shape: Shape
    patch: Shape
    stride: Shape

    @property
    def padded_shape(self) -> Shape:
        """Shape of the volume that the patches tile: at least one patch along every axis."""
        z, y, x = (max(n, p) for n, p in zip(self.shape, self.patch, strict=True))
        return z, y, x

    @property
    def origins(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Origins of the patches per axis, on the padded grid."""
        z, y, x = (axis_origins(n, p, s) for n, p, s in zip(self.padded_shape, self.patch, self.stride, strict=True))
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
        return PatchGrid(turned(self.shape, axis), turned(self.patch, axis), turned(self.stride, axis))

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
