"""Closed pores: what a particle encloses on all sides.

A particle is connected through faces, edges and corners of voxels, so what is not of it is connected through faces
alone. A cavity is such a connected part that does not reach the outside of the particle's box. What is in a cavity
counts as pore where it is background (label 0); other particles that are enclosed are no part of the pore, and a cavity
that they fill wholly is none. Whether a cavity is closed is a matter of this particle alone: a notch that a neighbour
shuts is open.

Gaps in the rows of voxels are all that has to be looked at: gaps that touch are one cavity, and one that touches
what lies before or after all of a row is open (union-find over gaps).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ps3d_core.morphology.rows import Integers, Rows


@njit(nogil=True, cache=True)
def closed_pores(labels: Any, low: Any, rows: Rows) -> tuple[int, int]:
    """Return how many closed pores a particle has, and of how many voxels. For kernels.

    `rows` are those of the particle in its box, which begins at voxel `low` of `labels` (z, y, x).
    """
    gaps = rows.gaps
    outside = len(gaps)
    if outside == 0:
        return 0, 0
    parents = np.arange(outside + 1)
    starts = _starts(rows)
    for i in range(outside):
        z, y = gaps[i, 0], gaps[i, 1]
        for side in (-1, 1):
            _join(rows, starts, parents, i, z + side, y)
            _join(rows, starts, parents, i, z, y + side)
    empty = np.zeros(outside + 1, np.int64)
    for i in range(outside):
        root = _root(parents, i)
        if root != outside:
            z, y = low[0] + gaps[i, 0], low[1] + gaps[i, 1]
            for x in range(low[2] + gaps[i, 2], low[2] + gaps[i, 3] + 1):
                empty[root] += labels[z, y, x] == 0
    return int((empty > 0).sum()), int(empty.sum())


@njit(nogil=True, cache=True)
def _starts(rows: Rows) -> Integers:
    """Where the gaps of each row begin in the list, and one more."""
    height, width = rows.first.shape
    starts = np.zeros(height * width + 1, np.int64)
    for i in range(len(rows.gaps)):
        starts[rows.gaps[i, 0] * width + rows.gaps[i, 1] + 1] += 1
    return np.cumsum(starts)


@njit(nogil=True, cache=True)
def _join(rows: Rows, starts: Integers, parents: Integers, i: int, z: int, y: int) -> None:
    """Join a gap with what is not of the particle in a row beside it. The root of all outside is the last number."""
    first, last, outside = rows.gaps[i, 2], rows.gaps[i, 3], len(parents) - 1
    height, width = rows.first.shape
    beyond = z < 0 or y < 0 or z >= height or y >= width
    if beyond or rows.first[z, y] < 0 or first < rows.first[z, y] or last > rows.last[z, y]:
        _unite(parents, i, outside)
    if beyond:
        return
    for j in range(starts[z * width + y], starts[z * width + y + 1]):
        if rows.gaps[j, 2] <= last and rows.gaps[j, 3] >= first:
            _unite(parents, i, j)


@njit(nogil=True, cache=True)
def _root(parents: Integers, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(nogil=True, cache=True)
def _unite(parents: Integers, i: int, j: int) -> None:
    a, b = _root(parents, i), _root(parents, j)
    parents[min(a, b)] = max(a, b)
