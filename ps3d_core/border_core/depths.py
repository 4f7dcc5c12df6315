"""How deep the voxels of a core lie: squared distances to the nearest voxel outside of it, Euclidean and exact.

Beyond the array nothing is known, and what is not known is not outside. Along x the distance follows from where a run
ends; along y, and then z, each voxel takes the least of what the others on its line know, plus the square of the steps
to them (Saito and Toriwaki, Pattern Recognition 27(11):1551-1565, 1994). Steps go outwards as long as any voxel could
still find something nearer, which in a core are few, and one step of all voxels is a loop without branches.

Depths lie in room for the bounding box of the core and one voxel more on all sides: there they are 0, as outside, so
that every voxel of the core has six neighbours.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Shape

Depths = npt.NDArray[np.int32]

FAR: Final = 2**30
"""Depth where nothing is outside; more than that of any two voxels of a volume that has 2**31 at most."""
_UNKNOWN: Final = 2**15
"""Steps to what lies beyond the array."""
_AT_ONCE: Final = 256
"""Voxels that go the same number of steps: enough for vectors, and few enough that those near the outside go few."""


def depths_of(core: npt.NDArray[np.bool_]) -> Depths:
    """Return the depths of a core, (z + 2, y + 2, x + 2) int32; `FAR` where nothing is outside.

    `core` is (z, y, x), bool; beyond it nothing is known.
    """
    z, y, x = (side + 2 for side in core.shape)
    depths = np.empty((z, y, x), np.int32)
    measure_depths(core, True, (0, 0, 0), depths, np.empty(depths.size, np.int32))
    return depths


@njit(nogil=True, cache=True)
def measure_depths(labels: Any, core: Any, start: Shape, depths: Depths, room: Depths) -> None:
    """Write the depths of one core of `labels` (z, y, x), whose bounding box begins at `start`. For kernels.

    `depths` is C-contiguous and as large as the box and one voxel more on all sides, `room` flat and no smaller.
    """
    depth, height, width = depths.shape
    depths[0], depths[depth - 1] = 0, 0
    for z in range(1, depth - 1):
        depths[z, 0], depths[z, height - 1] = 0, 0
        for y in range(1, height - 1):
            _along_row(labels[start[0] + z - 1, start[1] + y - 1], core, start[2], depths[z, y])
    # What lies beyond the array is left out, since it is not outside.
    z, y = int(start[0] == 0), int(start[1] == 0)
    stop_z = depth - int(start[0] + depth - 2 == labels.shape[0])
    stop_y = height - int(start[1] + height - 2 == labels.shape[1])
    for plane in range(1, depth - 1):
        _take_nearest(depths[plane, y:stop_y], room)
    _take_nearest(depths[z:stop_z].reshape(stop_z - z, height * width), room)


@njit(nogil=True, cache=True)
def _along_row(row: Any, core: Any, start: int, depths: Depths) -> None:
    """Squared steps along a row, from `start` on, to what is outside; `depths` has one voxel more on both sides."""
    last = depths.size - 1
    depths[0], depths[last] = 0, 0
    inside = row[start : start + last - 1]
    outside = 0 if start > 0 else -_UNKNOWN
    for x in range(1, last):
        outside = outside if inside[x - 1] == core else x
        depths[x] = x - outside
    outside = last if start + inside.size < row.size else last + _UNKNOWN
    for x in range(last - 1, 0, -1):
        outside = x if depths[x] == 0 else outside
        depths[x] = min(min(outside - x, depths[x]) ** 2, FAR)


@njit(nogil=True, cache=True)
def _take_nearest(depths: Depths, room: Depths) -> None:
    """Lower depths (n, m) to the least of what the n on a line know plus the square of the steps to them."""
    lines, width = depths.shape
    before = room[: depths.size]
    before[:] = depths.reshape(-1)
    some = max(1, _AT_ONCE // width)
    for first in range(0, lines, some):
        start, stop = first * width, min(first + some, lines) * width
        step = 1
        while step < lines and step * step < _deepest(depths[first : first + some].reshape(-1)):
            shift, square = step * width, step * step
            _lower(depths.reshape(-1)[max(start, shift) : stop], before[max(start - shift, 0) :], square)
            _lower(depths.reshape(-1)[start : min(stop, before.size - shift)], before[start + shift :], square)
            step += 1


@njit(nogil=True, cache=True)
def _lower(depths: Depths, others: Depths, square: int) -> None:
    for i in range(depths.size):
        depths[i] = min(depths[i], np.int32(others[i] + square))


@njit(nogil=True, cache=True)
def _deepest(depths: Depths) -> int:
    deepest = np.int32(0)
    for i in range(depths.size):
        deepest = max(deepest, depths[i])
    return int(deepest)
