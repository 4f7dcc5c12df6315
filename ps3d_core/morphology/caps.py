"""How far a particle ends beyond its outermost voxels, in one direction: by how many voxels are near them.

The tip of a body is seldom at the centre of a voxel, and the sharper it is, the deeper lies the first centre inside of
it: the cap of a body down to its first centre holds about one voxel's volume. The cap of depth t of a tip holds c t^3
where three faces meet; a body's end is then g / c^(1/3) beyond the first centre on average, and c is known by how many
voxels the first unit of depth holds. The factor, 0.69 in place of 0.89 for a single tip, makes up for the choice: the
largest diameter is that of those ends that happen to lie far out. Both it and `SHARP` were fitted to balls, ellipsoids,
boxes, cylinders, rods and discs of 5 to 60 voxels in random positions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ps3d_core.morphology.ferets import Vector
from ps3d_core.morphology.rows import Rows
from ps3d_core.morphology.solid import Floats

SHARP: Final = 0.4
"""A solid is at most so much longer than this says, in voxels: else its tips are corners of faces along the grid."""
_BEYOND: Final = 0.69


@njit(nogil=True, cache=True)
def length_along(rows: Rows, direction: Floats, edges: Floats) -> float:
    """Return how long a particle is along a unit vector (3,), in the unit of `edges`, whose mean is 1. For kernels."""
    steps = direction[0] * edges[0], direction[1] * edges[1], direction[2] * edges[2]
    low, high = _extent(rows, steps)
    below = _voxels_below(rows, steps, low + 1.0)
    above = _voxels_below(rows, (-steps[0], -steps[1], -steps[2]), 1.0 - high)
    return float(high - low + _BEYOND * (below ** (-1 / 3) + above ** (-1 / 3)))


@njit(nogil=True, cache=True)
def _extent(rows: Rows, steps: Vector) -> tuple[float, float]:
    """Least and largest place of a voxel along a direction, with the steps to the next voxel along the axes."""
    low, high = np.inf, -np.inf
    for z in range(rows.first.shape[0]):
        for y in range(rows.first.shape[1]):
            if rows.first[z, y] >= 0:
                at = steps[0] * z + steps[1] * y
                first, last = at + steps[2] * rows.first[z, y], at + steps[2] * rows.last[z, y]
                low, high = min(low, first, last), max(high, first, last)
    return low, high


@njit(nogil=True, cache=True)
def _voxels_below(rows: Rows, steps: Vector, limit: float) -> int:
    """How many voxels, gaps in rows included, are at most at a limit along a direction."""
    count = 0
    for z in range(rows.first.shape[0]):
        for y in range(rows.first.shape[1]):
            first, last = rows.first[z, y], rows.last[z, y]
            if first < 0:
                continue
            at = steps[0] * z + steps[1] * y
            low = at + steps[2] * (first if steps[2] >= 0 else last)
            if low <= limit:
                reach = (limit - low) / max(abs(steps[2]), 1e-9)
                count += min(last - first, int(min(reach, 2.0**31))) + 1
    return count
