"""How many voxels have their centre in a hull: counted row by row, exactly.

Every facet of the hull bounds the rows of voxels that its projection along x covers, from above or from below. Bounds
are rounded to whole numbers by integer division, so a centre on the hull is always in it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ps3d_core.morphology.hull import Hull, Integers, hull_of


@njit(nogil=True, cache=True)
def voxels_in(hull: Hull) -> int:
    """Return how many whole points lie in a hull of whole points none of which is negative. For kernels."""
    points = hull.points
    if hull.rank == 3:
        return _count(hull, np.zeros(3, np.int64))
    if hull.rank == 0:
        return 1
    a, b = hull.polygon[0], hull.polygon[1]
    if hull.rank == 1:
        return 1 + common_divisor(points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2])
    return _count(*_pyramid_on(hull))


@njit(nogil=True, cache=True)
def common_divisor(a: int, b: int, c: int) -> int:
    """Return the greatest common divisor of three whole numbers, not all 0. For kernels."""
    a, b, c = abs(a), abs(b), abs(c)
    while b:
        a, b = b, a % b
    while c:
        a, c = c, a % c
    return a


@njit(nogil=True, cache=True)
def _pyramid_on(hull: Hull) -> tuple[Hull, Integers]:
    """A solid whose base is a flat hull, and the normal of the base."""
    a, b, c = hull.polygon[0], hull.polygon[1], hull.polygon[2]
    normal = np.empty(3, np.int64)
    u, v = hull.points[b] - hull.points[a], hull.points[c] - hull.points[a]
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        normal[i] = u[j] * v[k] - u[k] * v[j]
    axis = 0
    while normal[axis] == 0:
        axis += 1
    # The last corner in the order of points, moved on, stays the last one.
    points = np.empty((len(hull.polygon) + 1, 3), np.int64)
    points[:-1] = hull.points[np.sort(hull.polygon)]
    points[-1] = points[-2]
    points[-1, axis] += 1
    return hull_of(points), normal


@njit(nogil=True, cache=True)
def _count(hull: Hull, plane: Integers) -> int:
    """Count whole points of a solid; where `plane` is no zero, those in the plane of that normal through point 0."""
    points = hull.points
    height, width = 0, 0
    for i in range(len(points)):
        height, width = max(height, points[i, 0] + 1), max(width, points[i, 1] + 1)
    low = np.full((height, width), -1, np.int64)
    high = np.full((height, width), -2, np.int64)
    for f in range(len(hull.corners)):
        if hull.normals[f, 2] > 0:
            _bound(hull, f, high)
        elif hull.normals[f, 2] < 0:
            _bound(hull, f, low)
    total = 0
    if (plane == 0).all():
        for z in range(height):
            for y in range(width):
                total += max(high[z, y] - low[z, y] + 1, 0)
        return int(total)
    some = points[:1].copy()
    for z in range(height):
        for y in range(width):
            for x in range(low[z, y], high[z, y] + 1):
                off = plane[0] * (z - some[0, 0]) + plane[1] * (y - some[0, 1]) + plane[2] * (x - some[0, 2])
                total += off == 0
    return int(total)


@njit(nogil=True, cache=True)
def _bound(hull: Hull, f: int, bounds: Integers) -> None:
    """Write where a facet, which is not along x, bounds the rows that it covers."""
    points, normal = hull.points, hull.normals[f]
    a = hull.corners[f, 0]
    value = normal[0] * points[a, 0] + normal[1] * points[a, 1] + normal[2] * points[a, 2]
    bottom = min(points[a, 0], points[hull.corners[f, 1], 0], points[hull.corners[f, 2], 0])
    top = max(points[a, 0], points[hull.corners[f, 1], 0], points[hull.corners[f, 2], 0])
    for z in range(bottom, top + 1):
        first, last = _covered(hull, f, z)
        for y in range(first, last + 1):
            rest = value - normal[0] * z - normal[1] * y
            # Floor division gives the last x below, and of negated numbers the first above.
            bounds[z, y] = rest // normal[2] if normal[2] > 0 else -(rest // -normal[2])


@njit(nogil=True, cache=True)
def _covered(hull: Hull, f: int, z: int) -> tuple[int, int]:
    """First and last whole y of a triangle in plane z."""
    first, last = np.int64(2**62), np.int64(-1)
    for e in range(3):
        a, b = hull.corners[f, e], hull.corners[f, (e + 1) % 3]
        z0, y0, z1, y1 = hull.points[a, 0], hull.points[a, 1], hull.points[b, 0], hull.points[b, 1]
        if z0 > z1:
            z0, y0, z1, y1 = z1, y1, z0, y0
        if z < z0 or z > z1:
            continue
        if z0 == z1:
            first, last = min(first, y0, y1), max(last, y0, y1)
        else:
            up = (y1 - y0) * (z - z0)
            first = min(first, y0 - (-up) // (z1 - z0))
            last = max(last, y0 + up // (z1 - z0))
    return int(first), int(last)
