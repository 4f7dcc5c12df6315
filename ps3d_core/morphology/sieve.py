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

from ps3d_core.morphology.ferets import dot
from ps3d_core.morphology.solid import Floats, Integers, Solid

_DIRECTIONS: Final = 256
_STARTS: Final = 4
_CANDIDATES: Final = 24
_ALIKE: Final = 0.96
"""Cosine above which directions count as the same when starts are chosen."""
_TURNS: Final = np.array(
    [[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) != (0, 0, 0)], np.float64
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
def sieve_size(solid: Solid, table: Lookup, edge: float) -> float:
    """Return the side of the smallest square hole; `edge` is about that of a voxel. For kernels."""
    columns = np.ascontiguousarray(solid.points.T)
    widths = np.empty(len(table.directions))
    for i in range(len(widths)):
        widths[i] = _width(columns, table.directions[i])
    size = np.inf
    starts = _best_pairs(table, widths)
    last = _LAST_STEP * edge / solid.size
    for i in range(len(starts)):
        frame = _frame(table.directions[starts[i, 0]], table.directions[starts[i, 1]])
        size = min(size, _refined(columns, frame, last))
    return size


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _width(columns: Floats, direction: Floats) -> float:
    low, high = np.inf, -np.inf
    z, y, x = direction[0], direction[1], direction[2]
    for p in range(columns.shape[1]):
        along = z * columns[0, p] + y * columns[1, p] + x * columns[2, p]
        low, high = min(low, along), max(high, along)
    return high - low


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
    for k in best:
        pair = table.pairs[k]
        if n < _STARTS and not _is_near(table.directions, chosen[:n], pair):
            chosen[n] = pair
            n += 1
    return chosen[:n]


@njit(nogil=True, cache=True)
def _is_near(directions: Floats, chosen: Integers, pair: Integers) -> bool:
    """Whether the shadow along both is much the same as that of a chosen pair."""
    p, q = directions[pair[0]], directions[pair[1]]
    for i in range(len(chosen)):
        a, b = directions[chosen[i, 0]], directions[chosen[i, 1]]
        if max(abs(dot(p, a)), abs(dot(p, b))) > _ALIKE and max(abs(dot(q, a)), abs(dot(q, b))) > _ALIKE:
            return True
    return False


@njit(nogil=True, cache=True)
def _frame(p: Floats, q: Floats) -> Floats:
    """Orthonormal axes (3, 3), the first along p, the second about along q."""
    frame = np.empty((3, 3))
    frame[0] = p
    frame[1] = q - dot(p, q) * p
    frame[1] /= np.sqrt(dot(frame[1], frame[1]))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        frame[2, i] = frame[0, j] * frame[1, k] - frame[0, k] * frame[1, j]
    return frame


@njit(nogil=True, cache=True)
def _refined(columns: Floats, frame: Floats, last: float) -> float:
    """The least larger width of the first two axes of a frame that is turned in ever smaller steps."""
    size = max(_width(columns, frame[0]), _width(columns, frame[1]))
    step = _FIRST_STEP
    while step > last:
        better = False
        for turn in range(len(_TURNS)):
            turned = _turned(frame, _TURNS[turn], step)
            other = _width(columns, turned[0])
            if other < size:
                other = max(other, _width(columns, turned[1]))
            if other < size:
                size, frame, better = other, turned, True
        if not better:
            step /= 2
    return size


@njit(nogil=True, cache=True)
def _turned(frame: Floats, turn: Floats, step: float) -> Floats:
    """A frame turned by small angles, step * turn, about its own axes."""
    a, b, c = step * turn[0], step * turn[1], step * turn[2]
    p, q, r = frame[0], frame[1], frame[2]
    return _frame(_unit(p + c * q - b * r), q - c * p + a * r)


@njit(nogil=True, cache=True)
def _unit(vector: Floats) -> Floats:
    return vector / np.sqrt(dot(vector, vector))
