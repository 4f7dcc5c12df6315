"""Feret diameters of a convex solid: the largest, the least, and those across the largest.

A Feret diameter is the distance between two parallel planes that the solid touches. The largest is the distance of two
corners, and the least has a facet against a corner, or an edge against an edge (Houle and Toussaint, IEEE Transactions
on Pattern Analysis and Machine Intelligence 10(5):761-765, 1988). All of these are found in one walk: while the planes
turn over an edge, from the normal of one facet to that of the next, the corner on the other side moves from neighbour
to neighbour, and every pair of corner and corner, facet and corner, edge and edge that planes can touch turns up.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from ps3d_core.morphology.solid import Floats, Integers, Solid

_SMALL: Final = 1e-10
"""Of a length, what counts as nothing: solids are made on a grid of some thousand steps."""


@njit(nogil=True, cache=True)
def extreme_ferets(solid: Solid) -> tuple[float, Floats, float, Floats]:
    """Return the largest Feret diameter and its direction, the least and its direction. For kernels.

    Lengths are in the unit of the solid, directions unit vectors (3,).
    """
    far, near = np.zeros(2, np.int64), np.zeros(3)
    lengths = np.array([-1.0, np.inf])
    lowest = _lowest_of_facets(solid, lengths, near)
    facet_at = _facet_at(solid)
    for f in range(len(solid.corners)):
        for e in range(3):
            g = solid.across[f, e]
            if g > f:
                _turn(solid, facet_at, (f, e, g), lowest[f], (lengths, far, near))
    along = solid.points[far[1]] - solid.points[far[0]]
    return lengths[0], along / lengths[0], lengths[1], near / np.sqrt((near**2).sum())


@njit(nogil=True, cache=True)
def feret_along(solid: Solid, direction: Floats) -> float:
    """Return the Feret diameter along a unit vector (3,). For kernels."""
    low, high = np.inf, -np.inf
    for p in range(len(solid.points)):
        along = dot(solid.points[p], direction)
        low, high = min(low, along), max(high, along)
    return high - low


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
    return length, (shadow[a] - shadow[b]) / length


@njit(nogil=True, cache=True, inline="always")
def dot(a: Floats, b: Floats) -> float:
    """Return the scalar product of two vectors (3,). For kernels."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


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


@njit(nogil=True, cache=True)
def _lowest_of_facets(solid: Solid, lengths: Floats, near: Floats) -> Integers:
    """Corner farthest from the plane of each facet; keep the least distance and its direction."""
    facet_at = _facet_at(solid)
    lowest = np.empty(len(solid.corners), np.int64)
    p = 0
    for f in range(len(solid.corners)):
        normal, top = solid.normals[f], solid.points[solid.corners[f, 0]]
        if dot(normal, top - solid.points[p]) <= _SMALL * solid.size:
            # In the plane itself a walk may find nothing lower beside it.
            for q in range(len(solid.points)):
                p = q if dot(normal, solid.points[q] - solid.points[p]) < 0 else p
        p = _lowest(solid, facet_at, normal, p)
        lowest[f] = p
        height = dot(normal, top - solid.points[p])
        if height < lengths[1]:
            lengths[1] = height
            near[:] = normal
    return lowest


@njit(nogil=True, cache=True)
def _lowest(solid: Solid, facet_at: Integers, normal: Floats, p: int) -> int:
    """Walk from corner p to the lowest one along a normal."""
    while True:
        lowest, best = p, -_SMALL * solid.size
        f = start = facet_at[p]
        while True:
            i = _place_of(solid, f, p)
            q = solid.corners[f, (i + 1) % 3]
            down = _difference(solid, normal, q, p)
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


@njit(nogil=True, cache=True, inline="always")
def _difference(solid: Solid, normal: Floats, q: int, p: int) -> float:
    a, b = solid.points[q], solid.points[p]
    return normal[0] * (a[0] - b[0]) + normal[1] * (a[1] - b[1]) + normal[2] * (a[2] - b[2])


@njit(nogil=True, cache=True)
def _turn(
    solid: Solid,
    facet_at: Integers,
    edge: tuple[int, int, int],
    p: int,
    best: tuple[Floats, Integers, Floats],
) -> None:
    """Turn planes over the edge e between facets f and g, from the one where corner p is the lowest."""
    f, e, g = edge
    lengths, far, near = best
    a, b = solid.corners[f, e], solid.corners[f, (e + 1) % 3]
    here, there, turned = solid.normals[f], solid.normals[g], 0.0
    for _ in range(len(solid.points)):
        for end in (a, b):
            apart = solid.points[end] - solid.points[p]
            length = np.sqrt(dot(apart, apart))
            if length > lengths[0]:
                lengths[0], far[0], far[1] = length, p, end
        q, turned = _next_lowest(solid, facet_at, (here, there), p, turned)
        if q == p:
            return
        between = (1 - turned) * here + turned * there
        width = dot(between, solid.points[a] - solid.points[p]) / np.sqrt(dot(between, between))
        if width < lengths[1]:
            lengths[1] = width
            near[:] = between
        p = q


@njit(nogil=True, cache=True)
def _next_lowest(
    solid: Solid, facet_at: Integers, normals: tuple[Floats, Floats], p: int, turned: float
) -> tuple[int, float]:
    """The neighbour that is as low as p first while planes turn on, and the share of the turn where it is."""
    after, share = p, 2.0
    f = start = facet_at[p]
    while True:
        i = _place_of(solid, f, p)
        q = solid.corners[f, (i + 1) % 3]
        there = _difference(solid, normals[1], q, p)
        if there < -_SMALL * solid.size:
            here = max(_difference(solid, normals[0], q, p), 0.0)
            when = max(here / (here - there), turned)
            if when < share:
                after, share = q, when
        f = solid.across[f, i]
        if f == start:
            return after, share
