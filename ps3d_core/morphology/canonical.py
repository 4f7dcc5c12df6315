"""The one of its 48 positions that a particle is measured in, so that its values are the same in all of them.

Axes can be put in 6 orders, and each can be reversed, without a voxel being cut. Where diameters or depths tie, which
of them is found first depends on the order of voxels: a sample that was mounted upside down would read differently. So
a particle is turned first. Its axes are sorted by the edge of a voxel, the length of the box, the variance of its
voxels along them and how skew these are, and reversed where they are skew the other way. Where that leaves several
positions, the one is taken whose voxels, read in order, come last; positions with the same voxels are one as far as
lengths go. All of that is in whole numbers. These may wrap in 64 bits, in each position in the same way.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.morphology.rows import Integers, Rows

Floats = npt.NDArray[np.float64]

_ORDERS: Final = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
_SIGNS: Final = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)])


class Position(NamedTuple):
    """How a particle is turned.

    axes: (3,), which axis of the scan (0 z, 1 y, 2 x) each of its own is;
    signs: (3,), -1 for those that are reversed.
    """

    axes: Integers
    signs: Integers


@njit(nogil=True, cache=True)
def position_of(labels: Any, label: Any, low: Any, rows: Rows, edges: Floats) -> Position:
    """Return the position in which a particle of `labels` (z, y, x) is measured. For kernels.

    `rows` are those of the particle in its box, which begins at voxel `low`; `edges` (z, y, x) are those of a voxel.
    """
    high = low + np.array(_shape(rows))
    box = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    keys, skew = _keys(rows, edges)
    found, axes, signs = 0, _ORDERS[0], _SIGNS[0]
    for o in range(len(_ORDERS)):
        order = _ORDERS[o]
        if not (_sorted(keys, order[0], order[1]) and _sorted(keys, order[1], order[2])):
            continue
        for s in range(len(_SIGNS)):
            # An axis that is not skew may be reversed or not.
            if (skew[order] * _SIGNS[s] < 0).any():
                continue
            found += 1
            if found == 1 or _is_after(_view(box, order, _SIGNS[s]), _view(box, axes, signs), label):
                axes, signs = order, _SIGNS[s]
    return Position(axes, signs)


@njit(nogil=True, cache=True)
def turned(rows: Rows, position: Position) -> npt.NDArray[np.uint8]:
    """Return the voxels of a particle in its position, 1 in its box and 0 for others. For kernels."""
    shape = _shape(rows)
    axes = position.axes
    mask = np.zeros((shape[axes[0]], shape[axes[1]], shape[axes[2]]), np.uint8)
    back = np.empty(3, np.int64)
    for i in range(3):
        back[axes[i]] = i
    view = _view(mask, back, position.signs[back])
    for z in range(shape[0]):
        for y in range(shape[1]):
            # Rows that are empty end before 0, where a slice would go on from the other end.
            view[z, y, max(rows.first[z, y], 0) : max(rows.last[z, y] + 1, 0)] = 1
    for g in range(len(rows.gaps)):
        view[rows.gaps[g, 0], rows.gaps[g, 1], rows.gaps[g, 2] : rows.gaps[g, 3] + 1] = 0
    return mask


@njit(nogil=True, cache=True)
def turned_back(vector: Floats, position: Position) -> Floats:
    """Return a vector (3,) along the axes of the scan, of one along those of a turned particle. For kernels."""
    back = np.empty(3)
    for i in range(3):
        back[position.axes[i]] = position.signs[i] * vector[i]
    return back


@njit(nogil=True, cache=True)
def _shape(rows: Rows) -> tuple[int, int, int]:
    return rows.first.shape[0], rows.first.shape[1], int(rows.last.max()) + 1


@njit(nogil=True, cache=True)
def _keys(rows: Rows, edges: Floats) -> tuple[Floats, Integers]:
    """What axes are sorted by, (3, 4), and in which direction they are skew, -1, 0 or 1."""
    keys, skew = np.empty((3, 4)), np.empty(3, np.int64)
    counts, shape = _counts(rows), _shape(rows)
    for axis in range(3):
        n, first, second, third = 0, 0, 0, 0
        for i in range(shape[axis]):
            count = counts[axis, i]
            n, first, second, third = n + count, first + count * i, second + count * i**2, third + count * i**3
        spread = n * second - first**2
        lean = n**2 * third - 3 * n * first * second + 2 * first**3
        keys[axis, 0], keys[axis, 1], keys[axis, 2], keys[axis, 3] = edges[axis], shape[axis], spread, abs(lean)
        skew[axis] = np.sign(lean)
    return keys, skew


@njit(nogil=True, cache=True)
def _counts(rows: Rows) -> Integers:
    """How many voxels of a particle are in each plane across each axis, (3, longest side and one more)."""
    shape = _shape(rows)
    counts = np.zeros((3, max(shape) + 1), np.int64)
    for z in range(shape[0]):
        for y in range(shape[1]):
            if rows.first[z, y] >= 0:
                _add(counts, z, y, (rows.first[z, y], rows.last[z, y]), 1)
    for g in range(len(rows.gaps)):
        _add(counts, rows.gaps[g, 0], rows.gaps[g, 1], (rows.gaps[g, 2], rows.gaps[g, 3]), -1)
    # Along x it is known by how much counts change from plane to plane.
    counts[2] = np.cumsum(counts[2])
    return counts


@njit(nogil=True, cache=True, inline="always")
def _add(counts: Integers, z: int, y: int, run: tuple[int, int], sign: int) -> None:
    voxels = sign * (run[1] - run[0] + 1)
    counts[0, z] += voxels
    counts[1, y] += voxels
    counts[2, run[0]] += sign
    counts[2, run[1] + 1] -= sign


@njit(nogil=True, cache=True)
def _sorted(keys: Floats, a: int, b: int) -> bool:
    """Whether axis a may come before axis b."""
    for k in range(keys.shape[1]):
        if keys[a, k] != keys[b, k]:
            return bool(keys[a, k] > keys[b, k])
    return True


@njit(nogil=True, cache=True)
def _view(box: Any, axes: Integers, signs: Integers) -> Any:
    view = box.transpose((axes[0], axes[1], axes[2]))
    view = view[:: signs[0]]
    view = view[:, :: signs[1]]
    return view[:, :, :: signs[2]]


@njit(nogil=True, cache=True)
def _is_after(one: Any, other: Any, label: Any) -> bool:
    """Whether the voxels of one position, read in order, come after those of another of the same shape."""
    for z in range(one.shape[0]):
        for y in range(one.shape[1]):
            for x in range(one.shape[2]):
                here = one[z, y, x] == label
                if here != (other[z, y, x] == label):
                    return bool(here)
    return False
