"""The rows of one particle: where along x each begins, ends and has gaps. All else here is made of that.

A row is a line of voxels along x through the box of the particle. Between the first and the last voxel of a row lies
all of the particle that the row can hold; what is not of the particle in between is a gap, which is where pores are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Integers = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """Rows of a particle, counted from the first voxel of its box.

    voxels: of the particle, how many;
    first, last: (z, y) int64, of each row, -1 and -2 where it has none;
    gaps: (n, 4) int64, z, y, first and last x of each gap, in C order.
    """

    voxels: int
    first: Integers
    last: Integers
    gaps: Integers


@njit(nogil=True, cache=True)
def rows_of(labels: Any, label: Any, low: Any, high: Any) -> Rows:
    """Return the rows of one particle of `labels` (z, y, x) in the box from voxel `low` to voxel `high`."""
    nz, ny, nx = high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1
    first, last = np.full((nz, ny), -1, np.int64), np.full((nz, ny), -2, np.int64)
    gaps = np.empty((8, 4), np.int64)
    found, voxels = 0, 0
    for z in range(nz):
        for y in range(ny):
            row = labels[low[0] + z, low[1] + y, low[2] : low[2] + nx]
            a, b = 0, nx - 1
            while a < nx and row[a] != label:
                a += 1
            if a == nx:
                continue
            while row[b] != label:
                b -= 1
            first[z, y], last[z, y] = a, b
            # A count has no branches: it finds out fast that there are no gaps, as in most rows.
            count = _count(row[a : b + 1], label)
            voxels += count
            if count <= b - a:
                gaps, found = _with_gaps(gaps, found, (z, y, a), row[a : b + 1], label)
    return Rows(voxels, first, last, gaps[:found])


@njit(nogil=True, cache=True)
def _count(row: Any, label: Any) -> int:
    count = np.uint32(0)
    for x in range(row.size):
        count += np.uint32(row[x] == label)
    return int(count)


@njit(nogil=True, cache=True)
def _with_gaps(gaps: Integers, found: int, at: tuple[int, int, int], row: Any, label: Any) -> tuple[Integers, int]:
    """The list of gaps with those of a row that begins and ends with a voxel of the particle, and their number."""
    z, y, begin = at
    before = 0
    for x in range(1, row.size):
        if row[x] != label:
            continue
        if x > before + 1:
            if found == len(gaps):
                gaps = np.concatenate((gaps, np.empty_like(gaps)))
            gaps[found, 0], gaps[found, 1] = z, y
            gaps[found, 2], gaps[found, 3] = begin + before + 1, begin + x - 1
            found += 1
        before = x
    return gaps, found


@njit(nogil=True, cache=True)
def corner_candidates(rows: Rows) -> Integers:
    """Return the voxels (n, 3) that can be corners of the hull, in C order: corners of the hull of each plane z."""
    nz, ny = rows.first.shape
    points = np.empty((2 * nz * ny, 3), np.int64)
    keep = np.empty((2, ny), np.int64)
    n = 0
    for z in range(nz):
        lefts = _chain(rows.first[z], 1, keep[0])
        rights = _chain(rows.last[z], -1, keep[1])
        i = j = 0
        while i < lefts or j < rights:
            y = ny
            if i < lefts:
                y = keep[0, i]
            if j < rights:
                y = min(y, keep[1, j])
            left = i < lefts and keep[0, i] == y
            right = j < rights and keep[1, j] == y
            i, j = i + left, j + right
            if left:
                points[n, 0], points[n, 1], points[n, 2] = z, y, rows.first[z, y]
                n += 1
            if right and not (left and rows.first[z, y] == rows.last[z, y]):
                points[n, 0], points[n, 1], points[n, 2] = z, y, rows.last[z, y]
                n += 1
    return points[:n]


@njit(nogil=True, cache=True)
def _chain(ends: Integers, side: int, keep: Integers) -> int:
    """Write to `keep` the rows whose ends are corners of the hull of a plane, side 1 for first ends, -1 for last."""
    n = 0
    for y in range(ends.size):
        if ends[y] < 0:
            continue
        while n > 1:
            a, b = keep[n - 2], keep[n - 1]
            # b is a corner when it lies beyond the line from a to y.
            if side * ((ends[b] - ends[a]) * (y - a) - (ends[y] - ends[a]) * (b - a)) < 0:
                break
            n -= 1
        keep[n] = y
        n += 1
    return n
