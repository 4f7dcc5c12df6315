"""The largest ball in a particle: the one that no centre of a voxel outside of it lies in.

It begins at the voxel that is farthest from all outside. Squared distances between centres of voxels, whose edges may
differ, are exact: along x they follow from where rows of voxels end, along y and z from the lower envelope of parabolas
(Felzenszwalb and Huttenlocher, Theory of Computing 8(19):415-428, 2012). Only the largest is asked for, so lines
that cannot have a larger one are left out. From there the centre moves between voxels, in steps that are halved when
none helps, to where the ball is largest.

That ball is too large, since a body ends somewhere before the first centres outside, by the more the fewer of these
are near the ball: hardly at all where a ball fills the particle, by a voxel between two flat faces. How many are within
one unit beyond the ball says how much is taken off.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Squares = npt.NDArray[np.float32]


_FIRST_STEP: Final = 0.4
_LAST_STEP: Final = 0.04
_FARTHEST: Final = 0.75
_LEAST_GAIN: Final = 0.02
"""Steps of the centre and how far it goes, in voxels, and what a step has to gain as a share of its length."""
_AROUND: Final = 2.0
"""Outside voxels are looked at that are by so much farther than the nearest, in the longest edge of a voxel: the centre
moves in its voxel, and where that is long a ball that leaves the nearest ones behind may reach others."""
_TOO_LARGE: Final = (11.0, -2 / 3)
"""Factor and exponent of what is taken off."""
_MOVES: Final = np.array(
    [[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if abs(a) + abs(b) + abs(c) in (1, 3)],
    np.float64,
)


@njit(nogil=True, cache=True)
def inscribed_diameter(labels: Any, label: Any, low: Any, high: Any, edges: Floats) -> float:
    """Return the diameter of the largest ball in a particle. For kernels.

    The particle is that of `label` in `labels` (z, y, x), in the box from voxel `low` to voxel `high`, beyond which
    nothing is of it. Lengths are in the unit of `edges` (z, y, x), of which the mean is 1.
    """
    depth, place = greatest_depth(labels, label, low, high, edges)
    outside = _around(labels, label, (low, high), edges, (depth, place))
    radius, near = _grown(outside, edges, depth)
    return float(max(2 * radius - _TOO_LARGE[0] * near ** _TOO_LARGE[1], radius))


@njit(nogil=True, cache=True)
def _around(labels: Any, label: Any, box: Any, edges: Floats, ball: tuple[float, tuple[int, int, int]]) -> Floats:
    """Places (n, 3) relative to the centre of a ball of voxels that are not of the particle and near the ball."""
    low, high = box
    depth, place = ball
    reach = depth + _AROUND * edges.max()
    spans = [int(reach / edges[axis]) for axis in range(3)]
    places = np.empty((64, 3))
    n = 0
    for k in range(-spans[0], spans[0] + 1):
        for j in range(-spans[1], spans[1] + 1):
            rest = reach**2 - (k * edges[0]) ** 2 - (j * edges[1]) ** 2
            if rest < 0:
                continue
            span = int(np.sqrt(rest) / edges[2])
            # Nothing that is nearer than the depth is outside.
            gap = int(np.sqrt(max(rest - reach**2 + depth**2, 0.0)) / edges[2])
            z, y = low[0] + place[0] + k, low[1] + place[1] + j
            beyond = z < low[0] or z > high[0] or y < low[1] or y > high[1]
            i = -span
            while i <= span:
                i = gap if -gap < i < gap else i
                x = low[2] + place[2] + i
                if beyond or x < low[2] or x > high[2] or labels[z, y, x] != label:
                    if n == len(places):
                        places = np.concatenate((places, np.empty_like(places)))
                    places[n, 0], places[n, 1], places[n, 2] = k * edges[0], j * edges[1], i * edges[2]
                    n += 1
                i += 1
    return places[:n]


@njit(nogil=True, cache=True)
def _grown(outside: Floats, edges: Floats, radius: float) -> tuple[float, int]:
    """Radius of the largest ball near the origin without places in it, and how many are within 1 beyond it."""
    centre = (0.0, 0.0, 0.0)
    step = _FIRST_STEP
    while step > _LAST_STEP:
        better = False
        for m in range(len(_MOVES)):
            z, y, x = (
                centre[0] + step * _MOVES[m, 0],
                centre[1] + step * _MOVES[m, 1],
                centre[2] + step * _MOVES[m, 2],
            )
            if max(abs(z) / edges[0], abs(y) / edges[1], abs(x) / edges[2]) <= _FARTHEST:
                enough = radius + _LEAST_GAIN * step
                other = _radius_at(outside, (z, y, x), enough)
                if other > enough:
                    centre, radius, better = (z, y, x), other, True
        if not better:
            step /= 2
    near = 0
    for p in range(len(outside)):
        z, y, x = outside[p, 0] - centre[0], outside[p, 1] - centre[1], outside[p, 2] - centre[2]
        near += z * z + y * y + x * x <= (radius + 1.0) ** 2
    return radius, near


@njit(nogil=True, cache=True)
def _radius_at(outside: Floats, centre: tuple[float, float, float], enough: float) -> float:
    """Distance from a centre to the nearest place; less than `enough` as soon as it is found not to be more."""
    least = np.inf
    for p in range(len(outside)):
        z, y, x = outside[p, 0] - centre[0], outside[p, 1] - centre[1], outside[p, 2] - centre[2]
        least = min(least, z * z + y * y + x * x)
        if least <= enough * enough:
            break
    return float(np.sqrt(least))


@njit(nogil=True, cache=True)
def greatest_depth(labels: Any, label: Any, low: Any, high: Any, edges: Floats) -> tuple[float, tuple[int, int, int]]:
    """Return the largest distance from a voxel of a particle to the nearest that is not of it, and which. For kernels.

    Arguments are those of `inscribed_diameter`; distances are between centres. The voxel is counted from `low`.
    """
    nz, ny, nx = high[0] - low[0] + 1, high[1] - low[1] + 1, high[2] - low[2] + 1
    # Half the memory, and still exact for cubes up to distances of 4096.
    squares = np.empty((nz, ny, nx), np.float32)
    for z in range(nz):
        for y in range(ny):
            _along_row(labels[low[0] + z, low[1] + y, low[2] : low[2] + nx], label, edges[2], squares[z, y])
    room = max(ny, nz) + 2
    line, places, begins = np.zeros(room), np.zeros(room, np.int64), np.zeros(room + 1)
    for z in range(nz):
        for x in range(nx):
            first, last, _ = _copy(squares[z, :, x], line)
            if first <= last:
                part = line[first : last + 3]
                _envelope(part, edges[1] ** 2, places, begins)
                _lower(squares[z, first : last + 1, x], part, edges[1] ** 2, places, begins)
    y, x = _deepest_line(squares)
    best, z = _deepest_along(squares[:, y, x], 0.0, edges[0] ** 2, (line, places, begins))
    place = (z, y, x)
    for y in range(ny):
        for x in range(nx):
            best, z = _deepest_along(squares[:, y, x], best, edges[0] ** 2, (line, places, begins))
            place = (z, y, x) if z >= 0 else place
    return np.sqrt(best), place


@njit(nogil=True, cache=True)
def _along_row(row: Any, label: Any, edge: float, squares: Squares) -> None:
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
def _copy(squares: Squares, line: Floats) -> tuple[int, int, float]:
    """Copy to a line that has a 0 more at both ends; return the first and last place that is not 0, and the largest."""
    n = squares.size
    line[0] = line[n + 1] = 0.0
    first, last, largest = n, -1, 0.0
    for i in range(n):
        value = squares[i]
        line[i + 1] = value
        if value > 0:
            first, last, largest = min(first, i), i, max(largest, value)
    return first, last, largest


@njit(nogil=True, cache=True)
def _deepest_line(squares: Squares) -> tuple[int, int]:
    """The line along z with the largest distance so far."""
    place = int(np.argmax(squares))
    width = squares.shape[2]
    return place // width % squares.shape[1], place % width


@njit(nogil=True, cache=True)
def _deepest_along(squares: Squares, best: float, square: float, room: tuple[Floats, Any, Floats]) -> tuple[float, int]:
    """The largest squared distance on a line and where it is, or `best` and -1 where it has no larger one."""
    line, places, begins = room
    place = -1
    first, last, largest = _copy(squares, line)
    if largest <= best:
        return best, place
    part = line[first : last + 3]
    _envelope(part, square, places, begins)
    k = 0
    for i in range(1, part.size - 1):
        while begins[k + 1] < i:
            k += 1
        distance = part[places[k]] + square * (i - places[k]) ** 2
        if distance > best:
            best, place = distance, first + i - 1
    return best, place


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
def _lower(squares: Squares, line: Floats, square: float, places: Any, begins: Floats) -> None:
    k = 0
    for i in range(1, squares.size + 1):
        while begins[k + 1] < i:
            k += 1
        squares[i - 1] = line[places[k]] + square * (i - places[k]) ** 2
