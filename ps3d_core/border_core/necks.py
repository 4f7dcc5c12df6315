"""Necks: where a core is narrow between two wide parts, it is two cores that a gap in the border let join.

The depth of a core's voxels, their distance to what is outside (see `depths`), has a peak in each part. Going down
from the peaks, the parts meet where the way between them is widest: at the neck. They are two cores when its half width
is at most a share of the lower of both peaks, and one otherwise: a watershed whose depth is relative, so that neither
the size of particles nor the grid matters. Every voxel of the core goes to a part.

Few cores have parts, and that one has none is known without a watershed: from every peak there is a way to something
deeper that never goes as low as the share, and from one of the deepest voxels such a way to all others. Most ways are a
few steps long.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.depths import FAR, Depths, deepest_of, depths_of, measure_depths
from ps3d_core.border_core.seams import Labels

Mask = npt.NDArray[np.bool_]
Parts = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int32]
Corners = npt.NDArray[np.int64]

_NOWHERE: Final = -1
_SIDES: Final = 6
_PATIENCE: Final = 4
"""Steps for each voxel of a core's box after which a watershed is quicker than more ways."""


def may_have_parts(labels: Labels, cores: Labels, start: Corners, stop: Corners, greatest_neck: float) -> Mask:
    """Return which cores may have parts, (n,) bool: of all others `part_at_necks` says that they have one.

    Args:
        labels: (z, y, x) with all cores and one voxel around each, where the volume does not end before.
        cores: (n,) their labels.
        start: (n, 3) where their bounding boxes begin in `labels`.
        stop: (n, 3) where they end.
        greatest_neck: as for `part_at_necks`.

    """
    found = np.zeros(len(cores), np.bool_)
    room = int((stop - start + 2).prod(axis=1).max(initial=0))
    _look_for_parts(labels, cores, start, stop, _lowest(greatest_neck), greatest_neck**2, room, found)
    return found


def part_at_necks(core: Mask, greatest_neck: float) -> tuple[Parts, int]:
    """Return the part of every voxel of a core, 1..n in C order of their first voxels, and n.

    Args:
        core: (z, y, x), the voxels of one core; fewer than 2**31. Beyond the array nothing is known, and what is not
            known is not outside: the edge of a scan makes no neck.
        greatest_neck: a core is parted where its neck is at most so many times as wide as the narrower part, 0 to 1.

    """
    depths, lowest = depths_of(core), _lowest(greatest_neck)
    deepest = int(depths.max(initial=0))
    if deepest < lowest or deepest == FAR:
        return core.astype(np.int32), 1
    parents = np.full(depths.shape, _NOWHERE, np.int32)
    if _flood(depths, _by_depth(depths, lowest, deepest + 1), greatest_neck**2, parents) == 1:
        return core.astype(np.int32), 1
    _flood(depths, _by_depth(depths, 1, lowest), greatest_neck**2, parents)
    parts = np.zeros(depths.shape, np.int32)
    count = int(_number(parents.reshape(-1), parts.reshape(-1)))
    return np.ascontiguousarray(parts[1:-1, 1:-1, 1:-1]), count


def _lowest(greatest_neck: float) -> int:
    """The least depth of a part: a neck is one voxel away from what is outside, or more."""
    return ceil(1 / greatest_neck**2) if greatest_neck else FAR


@njit(nogil=True, cache=True)
def _look_for_parts(
    labels: Labels, cores: Labels, start: Corners, stop: Corners, lowest: int, share: float, room: int, found: Mask
) -> None:
    """Say of each core whether it may have parts; `room` is the largest number of voxels of a box and one around it."""
    of_box, spare, seen = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    for i in range(cores.size):
        z, y, x = stop[i] - start[i] + 2
        depths = of_box[: z * y * x].reshape((z, y, x))
        measure_depths(labels, cores[i], (start[i, 0], start[i, 1], start[i, 2]), depths, spare)
        found[i] = _may_fall_apart(depths, lowest, share, seen[: depths.size], spare)


@njit(nogil=True, cache=True)
def _may_fall_apart(depths: Depths, lowest: int, share: float, seen: Indices, queue: Indices) -> bool:
    """True unless it is sure that `_flood` ends in one tree.

    A peak that stays a root has no way to anything deeper: where one leaves its tree, at a voxel above the share of its
    depth, the tree would have been joined to the other, or the other to it.
    """
    flat, deepest = depths.reshape(-1), deepest_of(depths.reshape(-1))
    if deepest < lowest or deepest == FAR:
        return False
    sides = _sides(depths.shape)
    alike = 0  # voxels that are deepest, of which the first has a way to all others
    for voxel in range(flat.size):
        alike += flat[voxel] == deepest
    seen[:] = 0
    steps = mark = 0
    peaks = np.zeros(depths.shape[2], np.bool_)
    for z in range(1, depths.shape[0] - 1):
        for y in range(1, depths.shape[1] - 1):
            if _find_peaks(depths, z, y, np.int32(lowest), peaks) == 0:
                continue
            for x in range(peaks.size):
                is_deepest = depths[z, y, x] == deepest
                if not peaks[x] or (is_deepest and alike == 0):
                    continue
                voxel, mark = (z * depths.shape[1] + y) * depths.shape[2] + x, mark + 1
                joined, taken = _reach(flat, sides, voxel, share, alike if is_deepest else flat.size, seen, mark, queue)
                alike = 0 if is_deepest else alike
                steps += taken
                if not joined or steps > _PATIENCE * flat.size:
                    return True
    return False


@njit(nogil=True, cache=True)
def _find_peaks(depths: Depths, z: int, y: int, lowest: np.int32, peaks: Mask) -> int:
    """Say which voxels of row (z, y) are at least as deep as `lowest` and as their neighbours; return how many are."""
    here, before, after = depths[z, y], depths[z - 1, y], depths[z + 1, y]
    above, below = depths[z, y - 1], depths[z, y + 1]
    count = 0
    for x in range(1, here.size - 1):
        depth = here[x]
        is_peak = (depth >= lowest) & (depth >= here[x - 1]) & (depth >= here[x + 1])
        is_peak &= (depth >= before[x]) & (depth >= after[x]) & (depth >= above[x]) & (depth >= below[x])
        peaks[x] = is_peak
        count += is_peak
    return count


@njit(nogil=True, cache=True)
def _reach(
    flat: Depths, sides: Indices, peak: int, share: float, alike: int, seen: Indices, mark: int, queue: Indices
) -> tuple[bool, int]:
    """Go from a peak wherever it is deeper than `share` of its depth; return whether there was enough, and the steps.

    Enough is something deeper, or `alike` voxels that are as deep. What was `seen` gets the `mark`.
    """
    queue[0], seen[peak] = peak, mark
    stop, step, found = 1, 0, 1
    while step < stop and found < alike:
        for side in range(_SIDES):
            other = queue[step] + sides[side]
            if seen[other] == mark or not flat[peak] * share < flat[other]:
                continue
            if flat[other] > flat[peak]:
                return True, step
            queue[stop], seen[other] = other, mark
            found += flat[other] == flat[peak]
            stop += 1
        step += 1
    return found >= alike, step


@njit(nogil=True, cache=True)
def _sides(shape: tuple[int, int, int]) -> Indices:
    """Steps in C order to the neighbours behind the faces of a voxel, the first in C order first."""
    plane, row = shape[1] * shape[2], shape[2]
    return np.array([-plane, -row, -1, 1, row, plane])


@njit(nogil=True, cache=True)
def _by_depth(depth: Depths, start: int, stop: int) -> Indices:
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
def _flood(depths: Depths, ascending: Indices, share: float, forest: Parts) -> int:
    """Join voxels from the deepest on; the `forest` of parents has the peaks of the parts for roots.

    `share` is the greatest neck, squared. Of voxels that are equally deep the one that is first in C order is last.
    Returns how many trees there are more than before.
    """
    depth, parents, sides = depths.ravel(), forest.reshape(-1), _sides(depths.shape)
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
def _parts_around(depth: Depths, voxel: int, sides: Indices, parents: Indices, around: Indices) -> int:
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
def _higher(depth: Depths, one: int, other: int) -> int:
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
