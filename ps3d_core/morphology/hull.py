"""The convex hull of points with whole numbers as coordinates, exactly.

Points come in lexicographic order, and each is beyond the hull of those before it. So it sees at least one facet at
the point before it, and what else it sees is connected to that (an incremental hull by sweep; see Edelsbrunner,
Algorithms in Combinatorial Geometry, 1987, chapter 8). The facets it sees are replaced by a fan of triangles from it
to their outline. A facet in whose plane it lies counts as not seen, so faces of many points become several triangles
in one plane, and none of them is without area. Signs are those of 64-bit integers: right as long as no coordinate
differs by more than `MOST` between two points.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Integers = npt.NDArray[np.int64]

MOST: Final = 2**20
"""Largest difference of coordinates: six products of three such numbers fit into 63 bits."""


class Hull(NamedTuple):
    """Convex hull of `points`.

    points: (n, 3) int64, in lexicographic order;
    rank: dimension of what they span, 3 for a solid;
    polygon: indices of the corners of a hull that is no solid, in order around it;
    corners: (m, 3) indices of the corners of the triangles of a solid;
    across: (m, 3) index of the triangle across the edge from corner i to corner i + 1;
    normals: (m, 3) outward normals, twice the area long.
    """

    points: Integers
    rank: int
    polygon: Integers
    corners: Integers
    across: Integers
    normals: Integers


class _Work(NamedTuple):
    """Room for a hull that grows: as in `Hull`, and which facets are in use."""

    points: Integers
    corners: Integers
    across: Integers
    normals: Integers
    mark: Integers
    free: Integers
    stack: Integers
    outline: Integers
    begins: Integers
    fan: Integers


_USED: Final = 0
_SEEN: Final = 1
_FREE: Final = 2


@njit(nogil=True, cache=True)
def hull_of(points: Integers) -> Hull:
    """Return the hull of distinct points (n, 3) in lexicographic order, n at least 1. For kernels."""
    normal, apex, rank = _first_solid(points)
    polygon = _polygon(points, normal, apex if rank == 3 else len(points), rank)
    none = np.empty((0, 3), np.int64)
    if rank < 3:
        return Hull(points, rank, polygon, none, none, none)
    n = len(points)
    room = 2 * n + 4
    work = _Work(
        points,
        np.empty((room, 3), np.int64),
        np.empty((room, 3), np.int64),
        np.empty((room, 3), np.int64),
        np.full(room, _FREE, np.int64),
        np.arange(room - 1, -1, -1),
        np.empty(room, np.int64),
        np.empty((room, 3), np.int64),
        np.empty(n, np.int64),
        np.empty(room, np.int64),
    )
    free, fan = _pyramid(work, polygon, apex, normal)
    for p in range(apex + 1, n):
        free, fan = _add(work, p, free, fan)
    corners, across, normals = _in_use(work, room - free)
    return Hull(points, rank, polygon, corners, across, normals)


@njit(nogil=True, cache=True, inline="always")
def cross(points: Integers, a: int, b: int, c: int) -> tuple[int, int, int]:
    """Return the normal of the triangle of three points, twice its area long. For kernels."""
    u0, u1, u2 = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
    v0, v1, v2 = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
    return u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0


@njit(nogil=True, cache=True, inline="always")
def above(points: Integers, normal: Integers, a: int, p: int) -> int:
    """Return how far point p lies beyond the plane through a, times the length of the normal. For kernels."""
    return int(
        normal[0] * (points[p, 0] - points[a, 0])
        + normal[1] * (points[p, 1] - points[a, 1])
        + normal[2] * (points[p, 2] - points[a, 2])
    )


@njit(nogil=True, cache=True)
def _first_solid(points: Integers) -> tuple[Integers, int, int]:
    """Normal of the plane of the first points, the first point beside it, and the dimension of all."""
    normal = np.zeros(3, np.int64)
    rank = min(len(points) - 1, 1)
    for p in range(2, len(points)):
        if rank == 1:
            normal[0], normal[1], normal[2] = cross(points, 0, 1, p)
            rank += (normal != 0).any()
        elif above(points, normal, 0, p) != 0:
            return normal, p, 3
    return normal, len(points), rank


@njit(nogil=True, cache=True)
def _polygon(points: Integers, normal: Integers, n: int, rank: int) -> Integers:
    """Corners of the hull of the first n points, which lie in a plane, counterclockwise about its normal."""
    if rank < 2:
        return np.array([0, n - 1])[: min(n, 2)]
    keep = np.empty(2 * n + 2, np.int64)
    signs = np.sign(normal)
    count = 0
    for turn in range(2):
        least = count + 1 if turn == 0 else count
        for i in range(n) if turn == 0 else range(n - 2, -1, -1):
            while count > least:
                a, b, c = cross(points, keep[count - 2], keep[count - 1], i)
                # Normals of one plane are parallel: signs do, where products of such numbers would not fit 64 bits.
                if a * signs[0] + b * signs[1] + c * signs[2] > 0:
                    break
                count -= 1
            keep[count] = i
            count += 1
    return keep[: count - 1].copy()


@njit(nogil=True, cache=True)
def _put(work: _Work, f: int, a: int, b: int, c: int) -> None:
    work.corners[f, 0], work.corners[f, 1], work.corners[f, 2] = a, b, c
    work.normals[f, 0], work.normals[f, 1], work.normals[f, 2] = cross(work.points, a, b, c)
    work.mark[f] = _USED


@njit(nogil=True, cache=True)
def _pyramid(work: _Work, polygon: Integers, apex: int, normal: Integers) -> tuple[int, int]:
    """Begin with the pyramid over a polygon; return how many facets are free, and how many are at its apex."""
    if above(work.points, normal, polygon[0], apex) < 0:
        polygon = polygon[::-1].copy()
    m = len(polygon)
    for i in range(m):
        _put(work, i, polygon[i], polygon[(i + 1) % m], apex)
        work.across[i, 0] = m + min(max(i, 1), m - 2) - 1
        work.across[i, 1], work.across[i, 2] = (i + 1) % m, (i - 1) % m
        work.fan[i] = i
    for j in range(1, m - 1):
        f = m + j - 1
        _put(work, f, polygon[0], polygon[j + 1], polygon[j])
        work.across[f, 0] = f + 1 if j < m - 2 else m - 1
        work.across[f, 1] = j
        work.across[f, 2] = f - 1 if j > 1 else 0
    return len(work.free) - (2 * m - 2), m


@njit(nogil=True, cache=True)
def _add(work: _Work, p: int, free: int, fan: int) -> tuple[int, int]:
    """Add a point; return how many facets are free then, and how many are at the point."""
    top = edges = 0
    for i in range(fan):
        f = work.fan[i]
        if above(work.points, work.normals[f], work.corners[f, 0], p) > 0:
            work.mark[f] = _SEEN
            work.stack[0], top = f, 1
            break
    while top > 0:
        top -= 1
        f = work.stack[top]
        for e in range(3):
            g = work.across[f, e]
            if work.mark[g] == _USED and above(work.points, work.normals[g], work.corners[g, 0], p) > 0:
                work.mark[g] = _SEEN
                work.stack[top] = g
                top += 1
            elif work.mark[g] == _USED:
                work.outline[edges, 0], work.outline[edges, 1] = work.corners[f, e], work.corners[f, (e + 1) % 3]
                work.outline[edges, 2] = g
                edges += 1
        work.mark[f] = _FREE
        work.free[free] = f
        free += 1
    return _close(work, p, edges, free), edges


@njit(nogil=True, cache=True)
def _close(work: _Work, p: int, edges: int, free: int) -> int:
    """Put a fan from a point to the outline of what it saw; return how many facets are free."""
    for i in range(edges):
        free -= 1
        f = work.free[free]
        a, b, g = work.outline[i, 0], work.outline[i, 1], work.outline[i, 2]
        _put(work, f, a, b, p)
        work.across[f, 0] = g
        for e in range(3):
            if work.corners[g, e] == b and work.corners[g, (e + 1) % 3] == a:
                work.across[g, e] = f
        work.begins[a] = f
        work.fan[i] = f
    for i in range(edges):
        f = work.fan[i]
        after = work.begins[work.corners[f, 1]]
        work.across[f, 1] = after
        work.across[after, 2] = f
    return free


@njit(nogil=True, cache=True)
def _in_use(work: _Work, count: int) -> tuple[Integers, Integers, Integers]:
    """Corners, neighbours and normals of the facets in use alone."""
    number = work.stack
    corners, normals = np.empty((count, 3), np.int64), np.empty((count, 3), np.int64)
    across = np.empty((count, 3), np.int64)
    n = 0
    for f in range(len(work.mark)):
        if work.mark[f] == _USED:
            number[f] = n
            corners[n], normals[n] = work.corners[f], work.normals[f]
            n += 1
    n = 0
    for f in range(len(work.mark)):
        if work.mark[f] == _USED:
            for e in range(3):
                across[n, e] = number[work.across[f, e]]
            n += 1
    return corners, across, normals
