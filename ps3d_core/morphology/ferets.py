"""Feret diameters of a convex solid: the largest, the least, and those across the largest.

A Feret diameter is the distance between two parallel planes that the solid touches. The largest is the distance of two
corners, and the least has a facet against a corner, or an edge against an edge (Houle and Toussaint, IEEE Transactions
on Pattern Analysis and Machine Intelligence 10(5):761-765, 1988). All of these are found in one walk: while the planes
turn over an edge, from the normal of one facet to that of the next, the corner on the other side moves from neighbour
to neighbour, and every pair of corner and corner, facet and corner, edge and edge that planes can touch turns up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ps3d_core.morphology.rows import Integers
from ps3d_core.morphology.solid import Floats, Solid

Vector = tuple[float, float, float]

_SMALL: Final = 1e-10
"""Of a length, what counts as nothing: solids are made on a grid of some thousand steps."""


@njit(nogil=True, cache=True)
def extreme_ferets(solid: Solid) -> tuple[float, Floats, float, Floats]:
    """Return the largest Feret diameter and its direction, the least and its direction. For kernels.

    Lengths are in the unit of the solid, directions unit vectors (3,).
    """
    facet_at = _facet_at(solid)
    far, near = np.zeros(3), np.zeros(3)
    largest, least = -1.0, np.inf
    p = 0
    for f in range(len(solid.corners)):
        normal, a = row(solid.normals, f), row(solid.points, solid.corners[f, 0])
        p = _lowest(solid, facet_at, normal, _below(solid, normal, a, p))
        height = _along(normal, a, row(solid.points, p))
        if height < least:
            least = height
            near[0], near[1], near[2] = normal
        for e in range(3):
            if solid.across[f, e] > f:
                largest, least = _turn(solid, facet_at, (f, e), p, (largest, far, least, near))
    return np.sqrt(largest), far / np.sqrt(largest), least, near / np.sqrt(dot(near, near))


@njit(nogil=True, cache=True)
def feret_along(solid: Solid, direction: Floats) -> float:
    """Return the Feret diameter along a unit vector (3,). For kernels."""
    low, high = np.inf, -np.inf
    for p in range(len(solid.points)):
        along = dot(solid.points[p], direction)
        low, high = min(low, along), max(high, along)
    return float(high - low)


@njit(nogil=True, cache=True)
def largest_across(solid: Solid, axis: Floats) -> tuple[float, Floats]:
    """Return the largest Feret diameter perpendicular to a unit vector (3,), and its direction. For kernels.

    It is that of the shadow along the axis, which corners cast at the edges between facets that face either way.
    """
    rim = _rim(solid, axis)
    shadow = np.empty((len(rim), 3))
    for i in range(len(rim)):
        shadow[i] = solid.points[rim[i]] - dot(solid.points[rim[i]], axis) * axis
    best, a, b = -1.0, 0, 0
    for i in range(len(rim)):
        for j in range(i):
            square = 0.0
            for k in range(3):
                square += (shadow[i, k] - shadow[j, k]) ** 2
            if square > best:
                best, a, b = square, i, j
    length = np.sqrt(best)
    return float(length), (shadow[a] - shadow[b]) / length


@njit(nogil=True, cache=True, inline="always")
def dot(a: Any, b: Any) -> float:
    """Return the scalar product of two vectors (3,). For kernels."""
    product: float = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


@njit(nogil=True, cache=True)
def _rim(solid: Solid, axis: Floats) -> Integers:
    """Corners at edges between facets of which not both face along an axis, nor both against it."""
    on = np.zeros(len(solid.points), np.bool_)
    facing = np.empty(len(solid.corners))
    for f in range(len(solid.corners)):
        facing[f] = dot(solid.normals[f], axis)
    for f in range(len(solid.corners)):
        for e in range(3):
            if facing[f] * facing[solid.across[f, e]] <= 0:
                on[solid.corners[f, e]] = on[solid.corners[f, (e + 1) % 3]] = True
    return np.nonzero(on)[0]


@njit(nogil=True, cache=True)
def _facet_at(solid: Solid) -> Integers:
    """A facet at each corner."""
    facet_at = np.zeros(len(solid.points), np.int64)
    for f in range(len(solid.corners)):
        for e in range(3):
            facet_at[solid.corners[f, e]] = f
    return facet_at


@njit(nogil=True, cache=True, inline="always")
def row(array: Floats, i: int) -> Vector:
    """Return row i of an array (n, 3). For kernels."""
    return array[i, 0], array[i, 1], array[i, 2]


@njit(nogil=True, cache=True, inline="always")
def _along(direction: Vector, a: Vector, b: Vector) -> float:
    """How much farther a is along a direction than b."""
    return direction[0] * (a[0] - b[0]) + direction[1] * (a[1] - b[1]) + direction[2] * (a[2] - b[2])


@njit(nogil=True, cache=True)
def _below(solid: Solid, normal: Vector, top: Vector, p: int) -> int:
    """A corner below the plane of a facet, p if it is: in the plane a walk may find nothing lower beside it."""
    if _along(normal, top, row(solid.points, p)) > _SMALL * solid.size:
        return p
    for q in range(len(solid.points)):
        p = q if _along(normal, row(solid.points, q), row(solid.points, p)) < 0 else p
    return p


@njit(nogil=True, cache=True)
def _lowest(solid: Solid, facet_at: Integers, normal: Vector, p: int) -> int:
    """Walk from corner p to the lowest one along a normal."""
    while True:
        lowest, best, here = p, -_SMALL * solid.size, row(solid.points, p)
        f = start = facet_at[p]
        while True:
            i = _place_of(solid, f, p)
            q = solid.corners[f, (i + 1) % 3]
            down = _along(normal, row(solid.points, q), here)
            if down < best:
                lowest, best = q, down
            f = solid.across[f, i]
            if f == start:
                break
        if lowest == p:
            return p
        p = lowest


@njit(nogil=True, cache=True, inline="always")
def _place_of(solid: Solid, f: int, p: int) -> int:
    return 0 if solid.corners[f, 0] == p else 1 if solid.corners[f, 1] == p else 2


@njit(nogil=True, cache=True)
def _turn(
    solid: Solid, facet_at: Integers, edge: tuple[int, int], p: int, best: tuple[float, Floats, float, Floats]
) -> tuple[float, float]:
    """Turn planes over edge e of facet f, whose lowest corner is p; return the largest square and the least width."""
    f, e = edge
    largest, far, least, near = best
    a, b = row(solid.points, solid.corners[f, e]), row(solid.points, solid.corners[f, (e + 1) % 3])
    normals = row(solid.normals, f), row(solid.normals, solid.across[f, e])
    turned = 0.0
    for _ in range(len(solid.points)):
        here = row(solid.points, p)
        for end in (a, b):
            square = (end[0] - here[0]) ** 2 + (end[1] - here[1]) ** 2 + (end[2] - here[2]) ** 2
            if square > largest:
                largest = square
                far[0], far[1], far[2] = end[0] - here[0], end[1] - here[1], end[2] - here[2]
        q, turned = _next_lowest(solid, facet_at, normals, p, turned)
        if q == p:
            break
        n, m = normals
        z, y, x = n[0] + turned * (m[0] - n[0]), n[1] + turned * (m[1] - n[1]), n[2] + turned * (m[2] - n[2])
        width = _along((z, y, x), a, here) / np.sqrt(z * z + y * y + x * x)
        if width < least:
            least = width
            near[0], near[1], near[2] = z, y, x
        p = q
    return largest, least


@njit(nogil=True, cache=True)
def _next_lowest(
    solid: Solid, facet_at: Integers, normals: tuple[Vector, Vector], p: int, turned: float
) -> tuple[int, float]:
    """The neighbour that is as low as p first while planes turn on, and the share of the turn where it is."""
    after, share, at = p, 2.0, row(solid.points, p)
    f = start = facet_at[p]
    while True:
        i = _place_of(solid, f, p)
        q = solid.corners[f, (i + 1) % 3]
        there = _along(normals[1], row(solid.points, q), at)
        if there < -_SMALL * solid.size:
            here = max(_along(normals[0], row(solid.points, q), at), 0.0)
            when = max(here / (here - there), turned)
            if when < share:
                after, share = q, when
        f = solid.across[f, i]
        if f == start:
            return after, share
