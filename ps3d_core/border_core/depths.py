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
    _mark(labels, core, start, depths)
    # What lies beyond the array is left out, since it is not outside.
    depth, height, width = depths.shape
    z, y, x = int(start[0] == 0), int(start[1] == 0), int(start[2] == 0)
    stop_z = depth - int(start[0] + depth - 2 == labels.shape[0])
    stop_y = height - int(start[1] + height - 2 == labels.shape[1])
    stop_x = width - int(start[2] + width - 2 == labels.shape[2])
    for plane in range(1, depth - 1):
        for row in range(1, height - 1):
            _along_row(depths[plane, row], -_UNKNOWN if x else 0, width - 1 if stop_x == width else width + _UNKNOWN)
        _take_nearest(depths[plane, y:stop_y], room)
    _take_nearest(depths[z:stop_z].reshape(stop_z - z, height * width), room)


@njit(nogil=True, cache=True)
def deepest_of(depths: Depths) -> int:
    """Return the largest of depths (n,), at least 0. For kernels."""
    deepest = np.int32(0)
    for i in range(depths.size):
        deepest = max(deepest, depths[i])
    return int(deepest)


@njit(nogil=True, cache=True)
def _mark(labels: Any, core: Any, start: Shape, depths: Depths) -> None:
    """Write 1 where the core is, else 0: nothing else is done while rows come from all over the memory."""
    depth, height, width = depths.shape
    depths[0], depths[depth - 1] = 0, 0
    for z in range(1, depth - 1):
        depths[z, 0], depths[z, height - 1] = 0, 0
        for y in range(1, height - 1):
            row, seen = depths[z, y], labels[start[0] + z - 1, start[1] + y - 1, start[2] : start[2] + width - 2]
            row[0], row[width - 1] = 0, 0
            for x in range(seen.size):
                row[x + 1] = seen[x] == core


@njit(nogil=True, cache=True)
def _along_row(depths: Depths, before: int, after: int) -> None:
    """Squared steps along a marked row to what is outside, of which the nearest beyond the row are at these places."""
    last, outside = depths.size - 1, before
    for x in range(1, last):
        outside = x if depths[x] == 0 else outside
        depths[x] = x - outside
    outside = after
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
        while step < lines and step * step < deepest_of(depths[first : first + some].reshape(-1)):
            shift, square = step * width, step * step
            _lower(depths.reshape(-1)[max(start, shift) : stop], before[max(start - shift, 0) :], square)
            _lower(depths.reshape(-1)[start : min(stop, before.size - shift)], before[start + shift :], square)
            step += 1


@njit(nogil=True, cache=True)
def _lower(depths: Depths, others: Depths, square: int) -> None:
    for i in range(depths.size):
        depths[i] = min(depths[i], np.int32(others[i] + square))
