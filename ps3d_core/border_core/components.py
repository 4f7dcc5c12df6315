"""Connected components of one block, by runs.

A volume is a list of runs (maximal stretches of equal class along x). Joining runs of neighbouring rows instead of
voxels makes a component pass cost little more than reading the block (He, Chao and Suzuki, IEEE Trans. Image
Processing 17(5):749-756, 2008, extended to three axes). The kernel releases the GIL, so threads scale, and numbers
components in C order of their first voxel, so the result is a function of the voxels alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.classes import Classes
from ps3d_core.border_core.unionfind import flatten, join
from ps3d_core.geometry.boxes import Shape

Labels = npt.NDArray[np.uint32]
Runs = npt.NDArray[np.int32]


class Components(NamedTuple):
    """The components of one block, as runs in C order: 12 bytes each, which labels need for 3 voxels.

    total: number of components, which have the labels 1..total in C order of their first voxel.
    shape: (z, y, x) of the block.
    first: (z * y + 1,) int32; the runs of row r, in C order of rows, are `first[r]` to `first[r + 1]`.
    begin, end: (runs,) int32, half-open extent along x.
    label: (runs,) int32.
    """

    total: int
    shape: Shape
    first: Runs
    begin: Runs
    end: Runs
    label: Runs

    def planes(self, start: int, stop: int) -> Components:
        """Return the runs of planes `start` to `stop`, with the labels they have in the block."""
        _, height, width = self.shape
        return self._replace(shape=(stop - start, height, width), first=self.first[start * height : stop * height + 1])


def find_components(classes: Classes, wanted: int, connectivity: Literal[6, 26]) -> Components:
    """Return the connected components of the voxels equal to `wanted`.

    Args:
        classes: (z, y, x) uint8, fewer than 2**31 voxels.
        wanted: a class.
        connectivity: 6 joins voxels that share a face, 26 also those that share an edge or a corner.

    """
    depth, height, width = classes.shape
    first = np.zeros(depth * height + 1, np.int32)
    _count_runs(classes, wanted, first)
    np.cumsum(first, out=first)
    begin = np.empty(first[-1], np.int32)
    end = np.empty(first[-1], np.int32)
    _find_runs(classes, wanted, first, begin, end)
    label = np.arange(first[-1], dtype=np.int32)
    _join_runs((depth, height), first, begin, end, connectivity == 26, label)
    flatten(label)
    total = int(_number(label))
    return Components(total, (depth, height, width), first, begin, end, label)


def write_labels(components: Components, into: Labels, *, above: int = 0) -> None:
    """Write `above` + label to the components' voxels in `into` (z, y, x), where all other voxels stay."""
    _fill(components, above, into)


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
def _fill(components: Components, above: int, labels: Labels) -> None:
    depth, height, _ = components.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            for run in range(components.first[row], components.first[row + 1]):
                labels[z, y, components.begin[run] : components.end[run]] = above + components.label[run]
