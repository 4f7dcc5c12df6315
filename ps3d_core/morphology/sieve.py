"""The square hole of a sieve that a convex solid passes.

It passes endlong, without turning on its way, through the square that its shadow fits in:

    sieve size = min over orthonormal pairs (p, q) of max(Feret diameter along p, Feret diameter along q)

Diameters along directions spread evenly over half the sphere are looked up for all pairs that are nearly perpendicular.
From the best of these the pair is turned, about its own axes and diagonals, in steps that are halved when none helps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from ps3d_core.morphology.ferets import Vector, dot, row
from ps3d_core.morphology.rows import Integers
from ps3d_core.morphology.solid import Floats, Solid

_DIRECTIONS: Final = 512
_STARTS: Final = 8
_CANDIDATES: Final = 64
_ALIKE: Final = 0.96
"""Cosine above which directions count as the same when starts are chosen."""
_TURNS: Final = np.array(
    [[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if abs(a) + abs(b) + abs(c) in (1, 3)],
    np.float64,
)
_FIRST_STEP: Final = 0.08
_LAST_STEP: Final = 0.02
"""Of a voxel, as what it moves at the end of the solid."""


class Lookup(NamedTuple):
    """Directions (n, 3), unit vectors, and pairs (m, 2) of them that are nearly perpendicular."""

    directions: Floats
    pairs: Integers


def lookup(count: int = _DIRECTIONS) -> Lookup:
    """Return directions on a golden-angle spiral over half the sphere, and their pairs within 4 degrees."""
    k = np.arange(count) + 0.5
    z = 1 - k / count
    phi = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    directions = np.stack([z, r * np.sin(phi), r * np.cos(phi)], axis=1)
    pairs = np.argwhere(np.triu(np.abs(directions @ directions.T) < np.sin(np.radians(4.0))))
    return Lookup(directions, pairs.astype(np.int64))


@njit(nogil=True, cache=True)
def sieve_size(solid: Solid, table: Lookup, edge: float) -> tuple[float, Floats]:
    """Return the side of the smallest square hole and the directions (2, 3) of its sides. For kernels.

    `edge` is about that of a voxel.
    """
    columns = np.ascontiguousarray(solid.points.T)
    widths = np.empty(len(table.directions))
    for i in range(len(widths)):
        widths[i] = _width(columns, row(table.directions, i))
    size, sides = np.inf, np.zeros((2, 3))
    starts = _best_pairs(table, widths)
    last = _LAST_STEP * edge / solid.size
    for i in range(len(starts)):
        p, q = row(table.directions, starts[i, 0]), row(table.directions, starts[i, 1])
        other, p, q = _refined(columns, p, q, last)
        if other < size:
            size = other
            sides[0, 0], sides[0, 1], sides[0, 2] = p
            sides[1, 0], sides[1, 1], sides[1, 2] = q
    return size, sides


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _width(columns: Floats, direction: Vector) -> float:
    low, high = np.inf, -np.inf
    z, y, x = direction[0], direction[1], direction[2]
    for p in range(columns.shape[1]):
        along = z * columns[0, p] + y * columns[1, p] + x * columns[2, p]
        low, high = min(low, along), max(high, along)
    return float(high - low)


@njit(nogil=True, cache=True)
def _best_pairs(table: Lookup, widths: Floats) -> Integers:
    """The pairs with the least larger width, the best first, that are no neighbours of a better one."""
    sizes, best = np.full(_CANDIDATES, np.inf), np.zeros(_CANDIDATES, np.int64)
    for k in range(len(table.pairs)):
        size = max(widths[table.pairs[k, 0]], widths[table.pairs[k, 1]])
        if size < sizes[-1]:
            i = _CANDIDATES - 1
            while i > 0 and sizes[i - 1] > size:
                sizes[i], best[i] = sizes[i - 1], best[i - 1]
                i -= 1
            sizes[i], best[i] = size, k
    chosen = np.empty((_STARTS, 2), np.int64)
    n = 0
    for each in best:
        pair = table.pairs[each]
        if n < _STARTS and not _is_near(table.directions, chosen[:n], pair):
            chosen[n] = pair
            n += 1
    return chosen[:n]


@njit(nogil=True, cache=True)
def _is_near(directions: Floats, chosen: Integers, pair: Integers) -> bool:
    """Whether the shadow along both is much the same as that of a chosen pair."""
    p, q = row(directions, pair[0]), row(directions, pair[1])
    for i in range(len(chosen)):
        a, b = row(directions, chosen[i, 0]), row(directions, chosen[i, 1])
        if max(abs(dot(p, a)), abs(dot(p, b))) > _ALIKE and max(abs(dot(q, a)), abs(dot(q, b))) > _ALIKE:
            return True
    return False


@njit(nogil=True, cache=True)
def _refined(columns: Floats, p: Vector, q: Vector, last: float) -> tuple[float, Vector, Vector]:
    """The least larger width of two directions that are turned together in ever smaller steps, and these."""
    q = _perpendicular(p, q)
    size = max(_width(columns, p), _width(columns, q))
    step = _FIRST_STEP
    while step > last:
        better = False
        for turn in range(len(_TURNS)):
            first, second = _turned(p, q, (step * _TURNS[turn, 0], step * _TURNS[turn, 1], step * _TURNS[turn, 2]))
            other = _width(columns, first)
            if other < size:
                other = max(other, _width(columns, second))
            if other < size:
                size, p, q, better = other, first, second, True
        if not better:
            step /= 2
    return size, p, q


@njit(nogil=True, cache=True)
def _turned(p: Vector, q: Vector, turn: Vector) -> tuple[Vector, Vector]:
    """Two perpendicular unit vectors turned by small angles about themselves and the one perpendicular to both."""
    a, b, c = turn
    r = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
    first = p[0] + c * q[0] - b * r[0], p[1] + c * q[1] - b * r[1], p[2] + c * q[2] - b * r[2]
    second = q[0] - c * p[0] + a * r[0], q[1] - c * p[1] + a * r[1], q[2] - c * p[2] + a * r[2]
    first = _unit(first)
    return first, _perpendicular(first, second)


@njit(nogil=True, cache=True, inline="always")
def _perpendicular(p: Vector, q: Vector) -> Vector:
    """The unit vector nearest to q that is perpendicular to the unit vector p."""
    along = dot(p, q)
    return _unit((q[0] - along * p[0], q[1] - along * p[1], q[2] - along * p[2]))


@njit(nogil=True, cache=True, inline="always")
def _unit(vector: Vector) -> Vector:
    length = np.sqrt(dot(vector, vector))
    return vector[0] / length, vector[1] / length, vector[2] / length
