"""Connected components of one block, by runs.

A volume is a list of runs (maximal stretches of equal class along x). Joining runs of neighbouring rows instead of
voxels makes a component pass cost little more than reading the block (He, Chao and Suzuki, IEEE Trans. Image
Processing 17(5):749-756, 2008, extended to three axes). The kernel releases the GIL, so threads scale, and numbers
components in C order of their first voxel, so the result is a function of the voxels alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.instances.unionfind import flatten, join

Classes = npt.NDArray[np.uint8]
Runs = npt.NDArray[np.int32]


def label_components(
    classes: Classes, wanted: int, connectivity: Literal[6, 26], *, into: npt.NDArray[np.uint32], above: int = 0
) -> int:
    """Label the components of the voxels equal to `wanted`.

    Args:
        classes: (z, y, x) uint8, fewer than 2**31 voxels.
        wanted: the class to label.
        connectivity: 6 joins voxels that share a face, 26 also those that share an edge or a corner.
        into: (z, y, x) that takes the labels `above` + 1 .. `above` + n, in C order of the first voxel; voxels of
            other classes stay.
        above: what the labels begin after.

    Returns:
        The number n of components.

    """
    first = np.zeros(classes.shape[0] * classes.shape[1] + 1, np.int32)
    _count_runs(classes, wanted, first)
    np.cumsum(first, out=first)
    begin = np.empty(first[-1], np.int32)
    end = np.empty(first[-1], np.int32)
    _find_runs(classes, wanted, first, begin, end)
    parent = np.arange(first[-1], dtype=np.int32)
    _join_runs(classes.shape[:2], first, begin, end, connectivity == 26, parent)
    flatten(parent)
    count = int(_number(parent))
    _fill(first, begin, end, parent, above, into)
    return count


@njit(nogil=True, cache=True)
def _count_runs(classes: Classes, wanted: int, count: Runs) -> None:
    """Number of runs of row r, in C order of rows, into `count[r + 1]`."""
    depth, height, width = classes.shape
    for z in range(depth):
        for y in range(height):
            runs = 0
            inside = False
            for x in range(width):
                now = classes[z, y, x] == wanted
                runs += now and not inside
                inside = now
            count[z * height + y + 1] = runs


@njit(nogil=True, cache=True)
def _find_runs(classes: Classes, wanted: int, first: Runs, begin: Runs, end: Runs) -> None:
    """Half-open extent along x of every run, in C order; the runs of row r are `first[r]` to `first[r + 1]`."""
    depth, height, width = classes.shape
    for z in range(depth):
        for y in range(height):
            run = first[z * height + y]
            if run == first[z * height + y + 1]:
                continue
            inside = False
            for x in range(width):
                now = classes[z, y, x] == wanted
                if now and not inside:
                    begin[run] = x
                elif inside and not now:
                    end[run] = x
                    run += 1
                inside = now
            if inside:
                end[run] = width


@njit(nogil=True, cache=True)
def _join_runs(rows: tuple[int, int], first: Runs, begin: Runs, end: Runs, diagonal: bool, parent: Runs) -> None:
    """Join every run with those it touches in the rows before it."""
    depth, height = rows
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            if first[row] == first[row + 1]:
                continue
            if y > 0:
                _join_rows(first, begin, end, row, row - 1, diagonal, parent)
            if z > 0:
                _join_rows(first, begin, end, row, row - height, diagonal, parent)
                if diagonal and y > 0:
                    _join_rows(first, begin, end, row, row - height - 1, diagonal, parent)
                if diagonal and y < height - 1:
                    _join_rows(first, begin, end, row, row - height + 1, diagonal, parent)


@njit(nogil=True, cache=True)
def _join_rows(first: Runs, begin: Runs, end: Runs, row: int, other: int, diagonal: bool, parent: Runs) -> None:
    """Walk two rows side by side and join the runs that touch; diagonally, ends one voxel apart touch too."""
    a, a_stop = first[row], first[row + 1]
    b, b_stop = first[other], first[other + 1]
    slack = 1 if diagonal else 0
    while a < a_stop and b < b_stop:
        if begin[a] < end[b] + slack and begin[b] < end[a] + slack:
            join(parent, a, b)
        if end[a] < end[b]:
            a += 1
        else:
            b += 1


@njit(nogil=True, cache=True)
def _number(parent: Runs) -> int:
    """Replace representatives by labels 1..n in order; `parent` must be flat. Returns n."""
    count = 0
    for run in range(parent.shape[0]):
        if parent[run] == run:
            count += 1
            parent[run] = count
        else:
            parent[run] = parent[parent[run]]
    return count


@njit(nogil=True, cache=True)
def _fill(first: Runs, begin: Runs, end: Runs, label: Runs, above: int, labels: npt.NDArray[np.uint32]) -> None:
    """Write the label of every run over its voxels."""
    depth, height, _ = labels.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            for run in range(first[row], first[row + 1]):
                labels[z, y, begin[run] : end[run]] = above + label[run]
