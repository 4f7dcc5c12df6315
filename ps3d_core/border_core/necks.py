"""Necks: where a core is narrow between two wide parts, it is two cores that a gap in the border let join.

The distance of a core's voxels to the nearest voxel outside of it has a peak in each part. Going down from the peaks,
the parts meet where the way between them is widest: at the neck. They are two cores when its half width is at most a
share of the lower of both peaks, and one otherwise: a watershed whose depth is relative, so that neither the size of
particles nor the grid matters. Every voxel of the core goes to a part.

Distances are Euclidean between voxel centres, and exact: they are kept squared. Beyond the array nothing is known, and
what is not known is not outside: the edge of a scan makes no neck.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Mask = npt.NDArray[np.bool_]
Squares = npt.NDArray[np.int32]
Parts = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int32]

_FAR: Final = 2**30
"""Squared distance where nothing is outside; more than that of any two voxels of a volume that has 2**31 at most."""
_NOWHERE: Final = -1
_SIDES: Final = 6


def part_at_necks(core: Mask, greatest_neck: float) -> tuple[Parts, int]:
    """Return the part of every voxel of a core, 1..n in C order of their first voxels, and n.

    Args:
        core: (z, y, x), the voxels of one core; fewer than 2**31.
        greatest_neck: a core is parted where its neck is at most so many times as wide as the narrower part, 0 to 1.

    """
    squares = squared_distances(core)
    deepest = int(squares.max(initial=0))
    # A neck is one voxel away from what is outside, or more: what is not as deep as this is no part of its own.
    lowest = ceil(1 / greatest_neck**2) if greatest_neck else _FAR
    if deepest < lowest or deepest == _FAR:
        return core.astype(np.int32), 1
    z, y, x = (side + 2 for side in core.shape)
    depth = np.zeros((z, y, x), np.int32)  # one voxel more on all sides: every voxel of the core has six neighbours
    depth[1:-1, 1:-1, 1:-1] = squares
    parents = np.full(depth.shape, _NOWHERE, np.int32)
    if _flood(depth, _by_depth(depth, lowest, deepest + 1), greatest_neck**2, parents) == 1:
        return core.astype(np.int32), 1
    _flood(depth, _by_depth(depth, 1, lowest), greatest_neck**2, parents)
    parts = np.zeros(depth.shape, np.int32)
    count = int(_number(parents.reshape(-1), parts.reshape(-1)))
    return np.ascontiguousarray(parts[1:-1, 1:-1, 1:-1]), count


def squared_distances(core: Mask) -> Squares:
    """Return the squared distance of every voxel to the nearest one that is not `core`, (z, y, x) int32.

    It is 0 outside, and 2**30 everywhere when there is no outside.
    """
    along_x = np.empty(core.shape, np.int32)
    _along_rows(core, along_x)
    along_y = np.empty_like(along_x)
    _across(along_x.transpose(0, 2, 1), along_y.transpose(0, 2, 1))
    _across(along_y.transpose(1, 2, 0), along_x.transpose(1, 2, 0))
    return along_x


@njit(nogil=True, cache=True)
def _along_rows(core: Mask, squares: Squares) -> None:
    depth, height, width = core.shape
    for z in range(depth):
        for y in range(height):
            last = -(2**15)
            for x in range(width):
                if not core[z, y, x]:
                    last = x
                squares[z, y, x] = min((x - last) ** 2, _FAR)
            last = 2**15 + width
            for x in range(width - 1, -1, -1):
                if not core[z, y, x]:
                    last = x
                squares[z, y, x] = min((last - x) ** 2, squares[z, y, x])


@njit(nogil=True, cache=True)
def _across(before: Any, after: Any) -> None:
    """Take the last axis into squared distances that know the others: the least of each and its square of steps.

    The search goes outwards as long as something nearer can be found, which in a core are few steps.
    """
    layers, rows, length = before.shape
    for layer in range(layers):
        for row in range(rows):
            for i in range(length):
                best = before[layer, row, i]
                step = 1
                while step * step < best and (step <= i or i + step < length):
                    if step <= i:
                        best = min(best, before[layer, row, i - step] + step * step)
                    if i + step < length:
                        best = min(best, before[layer, row, i + step] + step * step)
                    step += 1
                after[layer, row, i] = best


@njit(nogil=True, cache=True)
def _by_depth(depth: Squares, start: int, stop: int) -> Indices:
    """Flat indices of the voxels with `start` <= depth < `stop`, from the least deep on, in C order where equal."""
    flat = depth.ravel()
    begin = np.zeros(stop - start + 1, np.int64)
    for i in range(flat.size):
        if start <= flat[i] < stop:
            begin[flat[i] - start + 1] += 1
    begin = np.cumsum(begin)
    ascending = np.empty(begin[-1], np.int32)
    for i in range(flat.size):
        if start <= flat[i] < stop:
            ascending[begin[flat[i] - start]] = i
            begin[flat[i] - start] += 1
    return ascending


@njit(nogil=True, cache=True)
def _flood(depths: Squares, ascending: Indices, share: float, forest: Parts) -> int:
    """Join voxels from the deepest on; the `forest` of parents has the peaks of the parts for roots.

    `share` is the greatest neck, squared. Of voxels that are equally deep the one that is first in C order is last.
    Returns how many trees there are more than before.
    """
    depth, parents = depths.ravel(), forest.reshape(-1)
    plane, row = depths.shape[1] * depths.shape[2], depths.shape[2]
    sides = np.array([-plane, -row, -1, 1, row, plane])
    around = np.empty(_SIDES, np.int32)
    trees = 0
    for step in range(ascending.size - 1, -1, -1):
        voxel = ascending[step]
        count = _parts_around(depth, voxel, sides, parents, around)
        if count == 0:
            parents[voxel] = voxel
            trees += 1
            continue
        chosen = around[0]  # of the deepest neighbour
        if count > 1:
            highest = around[0]
            for i in range(1, count):
                highest = _higher(depth, highest, around[i])
            for i in range(count):
                if around[i] != highest and depth[around[i]] * share < depth[voxel]:
                    parents[around[i]] = highest
                    trees -= 1
                    chosen = highest  # which is joined through this voxel
        parents[voxel] = chosen
    return trees


@njit(nogil=True, cache=True)
def _parts_around(depth: Squares, voxel: int, sides: Indices, parents: Indices, around: Indices) -> int:
    """Roots of the parts that a voxel touches by its faces into `around`, that of the deepest neighbour first."""
    count, deepest = 0, -1
    for side in range(_SIDES):
        other = voxel + sides[side]
        if parents[other] == _NOWHERE:
            continue
        root = _root(parents, other)
        place = 0
        while place < count and around[place] != root:
            place += 1
        if place == count:
            around[count] = root
            count += 1
        if depth[other] > deepest:
            deepest = depth[other]
            around[place], around[0] = around[0], root
    return count


@njit(nogil=True, cache=True)
def _higher(depth: Squares, one: int, other: int) -> int:
    """Return the higher of two peaks; the first in C order of two that are equally high."""
    if depth[one] == depth[other]:
        return min(one, other)
    return one if depth[one] > depth[other] else other


@njit(nogil=True, cache=True)
def _root(parents: Indices, voxel: int) -> int:
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel


@njit(nogil=True, cache=True)
def _number(parents: Indices, parts: Parts) -> int:
    """Number the trees in C order of their first voxels, into `parts`; returns how many there are."""
    numbers = np.zeros(parents.size, np.int32)
    count = 0
    for voxel in range(parents.size):
        if parents[voxel] != _NOWHERE:
            root = _root(parents, voxel)
            if numbers[root] == 0:
                count += 1
                numbers[root] = count
            parts[voxel] = numbers[root]
    return count
