"""Where a particle ends beyond its outermost voxels, in one direction: by how many voxels there are at which depth.

The tip of a body is seldom at the centre of a voxel, and the sharper it is, the deeper lies the first centre inside of
it. Down to depth t below its tip a body has the volume c t^k, with k = 1 where it ends in a face, 2 in a rounded end or
a straight edge, 3 in a corner. In a convex body k is nowhere above 3, since the cube root of the volume is
concave (Brunn and Minkowski). All of c, k and the place of the tip follow from the sums of H - t, (H - t)^2 and
(H - t)^3 over voxels down to a depth H, as ends of distributions are estimated from moments of what lies near them:
with H counted from the tip the ratio of the second sum to the first is 2 H / (k + 2), that of the third to the second
is 3 H / (k + 3). A voxel near H counts in part, so that a plane of voxels does not come in all at once.

A tip can also be placed by the mean volume before the first centre, which is that of one voxel: with n voxels in the
first unit of depth it is 0.89 n^(-1/3) beyond it if it is a corner (0.89 is the gamma function of 4/3). That scatters
less between places of a body and is off by more from kind to kind of end. For large diameters it is the mean of both.

The unit of depth is the length of a voxel along the direction (root of the sum of squares of its projected edges), 1
for cubes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ps3d_core.morphology.ferets import Vector
from ps3d_core.morphology.rows import Rows
from ps3d_core.morphology.solid import Floats

SHARP: Final = 0.35
"""A solid is at most so much longer than this says, in voxels: else its tips are corners of faces along the grid."""
_DEPTHS: Final = (1.0, 3.0)
"""Of caps, the least and the largest, in units of depth."""
_SHARE: Final = 0.5
"""Of the least diameter, what a cap is deep at most: farther on a body has other shapes than at its end."""
_CORNER: Final = 0.893
"""Gamma function of 4/3."""
_LEAST_POWER, _LARGEST_POWER = 1.0, 3.0
_FARTHEST: Final = 2.0
"""How far an end is beyond the first centre at most: a lone voxel on a face is no tip of what is below."""
_MOST_OFF: Final = 0.25
"""Share of a sum that is taken off at most for voxels that count in part: 0.02 to 0.1 where depths follow a power."""


@njit(nogil=True, cache=True)
def length_along(rows: Rows, direction: Floats, edges: Floats, least: float) -> float:
    """Return how long a particle is along the direction of a large diameter, a unit vector (3,). For kernels.

    `least` is about the least diameter, in the unit of `edges`, whose mean is 1.
    """
    between, ends, corners = _ends(rows, direction, edges, least)
    return between + 0.5 * (ends + corners)


@njit(nogil=True, cache=True)
def width_along(rows: Rows, direction: Floats, edges: Floats, least: float) -> float:
    """Return how wide a particle is along the direction of a small diameter; arguments as for `length_along`."""
    between, ends, _ = _ends(rows, direction, edges, least)
    return between + ends


@njit(nogil=True, cache=True)
def _ends(rows: Rows, direction: Floats, edges: Floats, least: float) -> tuple[float, float, float]:
    """Distance of the outermost centres, and how far both ends are beyond them, by all depths and as corners."""
    unit = np.sqrt((direction[0] * edges[0]) ** 2 + (direction[1] * edges[1]) ** 2 + (direction[2] * edges[2]) ** 2)
    steps = direction[0] * edges[0] / unit, direction[1] * edges[1] / unit, direction[2] * edges[2] / unit
    low, high = _extent(rows, steps)
    depth = max(_DEPTHS[0], min(_DEPTHS[1], _SHARE * least / unit))
    ends = corners = 0.0
    for side in (1.0, -1.0):
        along = side * steps[0], side * steps[1], side * steps[2]
        sums = _sums(rows, along, low if side > 0 else -high, depth)
        ends += _beyond(sums, depth)
        corners += _CORNER * sums[3] ** (-1 / 3)
    return unit * (high - low), unit * ends, unit * corners


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
def _sums(rows: Rows, steps: Vector, low: float, depth: float) -> tuple[float, float, float, int]:
    """Sums of the first three powers of what voxels are above a depth, gaps in rows included, and how many are above 1.

    A voxel that is nearer to the depth than half a unit counts with the mean over a unit around it, less what means of
    such powers are too large.
    """
    first = second = third = off_first = off_second = off_third = 0.0
    near = 0
    for z in range(rows.first.shape[0]):
        for y in range(rows.first.shape[1]):
            start, end, step = rows.first[z, y], rows.last[z, y], 1
            if start < 0:
                continue
            if steps[2] < 0:
                start, end, step = end, start, -1
            at = depth + low - steps[0] * z - steps[1] * y
            for x in range(start, end + step, step):
                above = at - steps[2] * x
                if above <= -0.5:
                    break
                near += above >= depth - 1.0
                if above >= 0.5:
                    first, second, third = first + above, second + above**2, third + above**3
                else:
                    part = above + 0.5
                    first, second, third = first + part**2 / 2, second + part**3 / 3, third + part**4 / 4
                    off_first, off_second = off_first + 1 / 24, off_second + part / 12
                    off_third += part**2 / 8
    return _less(first, off_first), _less(second, off_second), _less(third, off_third), near


@njit(nogil=True, cache=True, inline="always")
def _less(total: float, off: float) -> float:
    return total - min(off, _MOST_OFF * total)


@njit(nogil=True, cache=True)
def _beyond(sums: tuple[float, float, float, int], depth: float) -> float:
    """How far the tip is beyond the first centre."""
    one, two = sums[1] / sums[0], sums[2] / sums[1]
    excess = 1.5 * one / two - 1.0
    power = _LARGEST_POWER if excess <= 0 else min(max(1.0 / excess - 2.0, _LEAST_POWER), _LARGEST_POWER)
    return min(max(0.0, one * (power + 2.0) / 2.0 - depth), _FARTHEST)
