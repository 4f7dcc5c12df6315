"""The largest ball in a particle: the maximum of the distances of its voxels to what is outside of it.

Squared distances between centres of voxels, whose edges may differ, are exact: along x they follow from where rows of
voxels end, along y and z from the lower envelope of parabolas (Felzenszwalb and Huttenlocher, Theory of Computing
8(19):415-428, 2012). Only the largest distance is asked for, so lines that cannot have a larger one are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]


@njit(nogil=True, cache=True)
def greatest_depth(labels: Any, label: Any, low: Any, high: Any, edges: Floats) -> float:
    """Return the largest distance from a voxel of a particle to the nearest one that is not of it. For kernels.

    The particle is that of `label` in `labels` (z, y, x), in the box from voxel `low` to voxel `high`, beyond which
    nothing is of it. Distances are between centres, in the unit of `edges` (z, y, x).
    """
    nz, ny, nx = high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1
    squares = np.empty((nz, ny, nx))
    for z in range(nz):
        for y in range(ny):
            _along_row(labels[low[0] + z, low[1] + y, low[2] : low[2] + nx], label, edges[2], squares[z, y])
    room = max(ny, nz) + 2
    line, places, begins = np.zeros(room), np.zeros(room, np.int64), np.zeros(room + 1)
    for z in range(nz):
        for x in range(nx):
            if _copy(squares[z, :, x], line) > 0:
                _envelope(line[: ny + 2], edges[1] ** 2, places, begins)
                _lower(squares[z, :, x], line, edges[1] ** 2, places, begins)
    best = 0.0
    first, second = _deepest_line(squares)
    best = _deepest_along(squares[:, first, second], best, edges[0] ** 2, (line, places, begins))
    for y in range(ny):
        for x in range(nx):
            best = _deepest_along(squares[:, y, x], best, edges[0] ** 2, (line, places, begins))
    return np.sqrt(best)


@njit(nogil=True, cache=True)
def _along_row(row: Any, label: Any, edge: float, squares: Floats) -> None:
    """Squared distances along a row, 0 outside of the particle."""
    n, since = row.size, 0
    for x in range(n):
        since = since + 1 if row[x] == label else 0
        squares[x] = since
    since = 0
    for x in range(n - 1, -1, -1):
        since = since + 1 if row[x] == label else 0
        squares[x] = (min(squares[x], since) * edge) ** 2


@njit(nogil=True, cache=True, inline="always")
def _copy(squares: Floats, line: Floats) -> float:
    """Copy to a line that has a 0 more at both ends, and return the largest."""
    largest = 0.0
    line[0] = line[squares.size + 1] = 0.0
    for i in range(squares.size):
        line[i + 1] = squares[i]
        largest = max(largest, squares[i])
    return largest


@njit(nogil=True, cache=True)
def _deepest_line(squares: Floats) -> tuple[int, int]:
    """The line along z with the largest distance so far."""
    place = int(np.argmax(squares))
    width = squares.shape[2]
    return place // width % squares.shape[1], place % width


@njit(nogil=True, cache=True)
def _deepest_along(squares: Floats, best: float, square: float, room: tuple[Floats, Any, Floats]) -> float:
    """The largest squared distance on a line, or `best` where it has no larger one."""
    line, places, begins = room
    if _copy(squares, line) <= best:
        return best
    _envelope(line[: squares.size + 2], square, places, begins)
    k = 0
    for i in range(1, squares.size + 1):
        while begins[k + 1] < i:
            k += 1
        best = max(best, line[places[k]] + square * (i - places[k]) ** 2)
    return best


@njit(nogil=True, cache=True)
def _envelope(line: Floats, square: float, places: Any, begins: Floats) -> None:
    """Which parabolas make up the lower envelope, and where each begins to be the lowest."""
    k = 0
    places[0], begins[0], begins[1] = 0, -np.inf, np.inf
    for i in range(1, line.size):
        while True:
            p = places[k]
            meet = 0.5 * ((line[i] - line[p]) / (square * (i - p)) + (i + p))
            if meet > begins[k]:
                break
            k -= 1
        k += 1
        places[k], begins[k], begins[k + 1] = i, meet, np.inf


@njit(nogil=True, cache=True)
def _lower(squares: Floats, line: Floats, square: float, places: Any, begins: Floats) -> None:
    k = 0
    for i in range(1, squares.size + 1):
        while begins[k + 1] < i:
            k += 1
        squares[i - 1] = line[places[k]] + square * (i - places[k]) ** 2
