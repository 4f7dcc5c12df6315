"""The convex solid that a particle is taken to be when its diameters are measured.

The hull of the centres of its voxels is too small, since a body ends somewhere beyond its outermost centres, and the
hull of their corners too large. Where a facet of the hull of centres is the face of a body, the body ends before the
next plane of voxels in that direction. These planes are 1 / |N| apart, with N the normal of the facet in the
smallest whole numbers: 1 voxel along an axis, hardly anything where a face is oblique. So on average the body ends
half of that beyond the facet. By Ehrhart's theorem the hull that is grown by half of that on all sides has, to first
order, the volume of the voxels whose centres are in it.

Corners move outwards by what fits that best for the facets around them: least squares with each facet weighted by its
angle at the corner, and a ridge, for where facets lie nearly in a plane they do not say where to go along it.
Hulls without a volume (one voxel, a line, a plane of them) are taken as the hulls of the corners of the voxels.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.morphology.hull import MOST, Hull, Integers, hull_of
from ps3d_core.morphology.lattice import common_divisor

Floats = npt.NDArray[np.float64]

_RIDGE: Final = 0.02
_FARTHEST: Final = 0.8661
"""Voxels that a corner goes at most, as far as the corner of a voxel: the tip of a thin spike would go on for long."""
_STEPS: Final = 1024
"""Per voxel, of the grid of whole numbers on which the solid is made; fewer for very large particles."""


class Solid(NamedTuple):
    """A convex solid in the unit of the edges of a voxel.

    points: (n, 3), its corners; corners, across: (m, 3) as in `Hull`; normals: (m, 3), unit vectors outwards;
    size: of its box, the longest side.
    """

    points: Floats
    corners: Integers
    across: Integers
    normals: Floats
    size: float


@njit(nogil=True, cache=True)
def solid_of(hull: Hull, edges: Floats) -> Solid:
    """Return the solid of a hull of voxel centres; `edges` are those of a voxel (z, y, x). For kernels."""
    side = 4
    for axis in range(3):
        side = max(side, hull.points[:, axis].max() - hull.points[:, axis].min() + 4)
    steps = _STEPS
    while steps > 2 and steps * side > MOST:
        steps //= 2
    fine = hull_of(_sorted(_moved(hull, steps) if hull.rank == 3 else _voxel_corners(hull, steps)))
    points, corners = _of_corners_alone(fine, edges / steps)
    normals = fine.normals / edges
    size = 0.0
    for f in range(len(normals)):
        normals[f] /= np.sqrt((normals[f] ** 2).sum())
    for axis in range(3):
        size = max(size, points[:, axis].max() - points[:, axis].min())
    return Solid(points, corners, fine.across, normals, size)


@njit(nogil=True, cache=True)
def _of_corners_alone(hull: Hull, edges: Floats) -> tuple[Floats, Integers]:
    """Points that are corners of a hull, scaled, and its facets in their numbers."""
    number = np.full(len(hull.points), -1, np.int64)
    corners = np.empty_like(hull.corners)
    points = np.empty((len(hull.points), 3))
    n = 0
    for f in range(len(corners)):
        for e in range(3):
            p = hull.corners[f, e]
            if number[p] < 0:
                number[p] = n
                for axis in range(3):
                    points[n, axis] = hull.points[p, axis] * edges[axis]
                n += 1
            corners[f, e] = number[p]
    return points[:n], corners


@njit(nogil=True, cache=True)
def _sorted(points: Integers) -> Integers:
    """Distinct points in lexicographic order, from (0, 0, 0) on."""
    keys = np.empty(len(points), np.int64)
    z0, y0, x0 = points[:, 0].min(), points[:, 1].min(), points[:, 2].min()
    for p in range(len(points)):
        keys[p] = ((points[p, 0] - z0) << 42) | ((points[p, 1] - y0) << 21) | (points[p, 2] - x0)
    keys.sort()
    result = np.empty_like(points)
    n = 0
    for p in range(len(points)):
        if p == 0 or keys[p] != keys[p - 1]:
            for axis in range(3):
                result[n, axis] = keys[p] >> (42 - 21 * axis) & (2**21 - 1)
            n += 1
    return result[:n]


@njit(nogil=True, cache=True)
def _voxel_corners(hull: Hull, steps: int) -> Integers:
    points = np.empty((8 * len(hull.polygon), 3), np.int64)
    for i in range(len(points)):
        for axis in range(3):
            side = 1 if (i >> axis) & 1 else -1
            points[i, axis] = hull.points[hull.polygon[i // 8], axis] * steps + side * (steps // 2)
    return points


@njit(nogil=True, cache=True)
def _moved(hull: Hull, steps: int) -> Integers:
    """Corners of a hull, moved outwards."""
    left, right = _planes_around(hull)
    points = np.empty_like(hull.points)
    n = 0
    for p in range(len(points)):
        trace = left[p, 0] + left[p, 1] + left[p, 2]
        if trace > 0:
            left[p, :3] += _RIDGE * trace
            move = _solved(left[p], right[p])
            share = min(1.0, _FARTHEST / np.sqrt(move[0] ** 2 + move[1] ** 2 + move[2] ** 2)) * steps
            points[n, 0] = hull.points[p, 0] * steps + int(np.rint(share * move[0]))
            points[n, 1] = hull.points[p, 1] * steps + int(np.rint(share * move[1]))
            points[n, 2] = hull.points[p, 2] * steps + int(np.rint(share * move[2]))
            n += 1
    return points[:n]


@njit(nogil=True, cache=True)
def _planes_around(hull: Hull) -> tuple[Floats, Floats]:
    """Normal equations of each point: matrices (n, 6) as zz, yy, xx, yx, zx, zy, and right sides (n, 3)."""
    left, right = np.zeros((len(hull.points), 6)), np.zeros((len(hull.points), 3))
    for f in range(len(hull.corners)):
        a, b, c = hull.normals[f, 0], hull.normals[f, 1], hull.normals[f, 2]
        length = np.sqrt(float(a) * a + float(b) * b + float(c) * c)
        half = 0.5 * common_divisor(a, b, c) / length
        u, v, w = a / length, b / length, c / length
        for e in range(3):
            p = hull.corners[f, e]
            weight = _angle(hull.points, p, hull.corners[f, (e + 1) % 3], hull.corners[f, (e + 2) % 3])
            left[p, 0] += weight * u * u
            left[p, 1] += weight * v * v
            left[p, 2] += weight * w * w
            left[p, 3] += weight * v * w
            left[p, 4] += weight * u * w
            left[p, 5] += weight * u * v
            right[p, 0] += weight * u * half
            right[p, 1] += weight * v * half
            right[p, 2] += weight * w * half
    return left, right


@njit(nogil=True, cache=True)
def _angle(points: Integers, a: int, b: int, c: int) -> float:
    """Angle of a triangle at point a."""
    inner = first = second = 0.0
    for axis in range(3):
        u, v = float(points[b, axis] - points[a, axis]), float(points[c, axis] - points[a, axis])
        inner, first, second = inner + u * v, first + u * u, second + v * v
    return float(np.arccos(min(1.0, max(-1.0, inner / np.sqrt(first * second)))))


@njit(nogil=True, cache=True)
def _solved(left: Floats, right: Floats) -> tuple[float, float, float]:
    """Solution of three symmetric equations by Cramer's rule."""
    a, b, c, d, e, f = left[0], left[1], left[2], left[3], left[4], left[5]
    aa, bb, cc = b * c - d * d, a * c - e * e, a * b - f * f
    ab, ac, bc = d * e - f * c, f * d - b * e, f * e - a * d
    determinant = a * aa + f * ab + e * ac
    z = aa * right[0] + ab * right[1] + ac * right[2]
    y = ab * right[0] + bb * right[1] + bc * right[2]
    x = ac * right[0] + bc * right[1] + cc * right[2]
    return z / determinant, y / determinant, x / determinant
