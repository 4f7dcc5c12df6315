"""One walk over a block of labels: counts, extents, moments and surface intercepts per label.

Rows along x are the unit of work. For every row a branch-free loop, which the compiler vectorises, counts how many
of the 13 forward neighbours of each voxel are of another label. A second loop goes from run to run of equal labels
and adds the run's sums in closed form, so the label is looked up once per run and background costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.exact_sums import GreySums, add_grey
from ps3d_core.particles.label_index import LabelIndex, Labels, index_labels, row_of
from ps3d_core.particles.sums import LabelSums
from ps3d_core.particles.surface import CUBES

Integers = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint8]


def block_sums(padded: Labels, origin: Shape, image: npt.NDArray[Any] | None, kinds: int = CUBES) -> LabelSums:
    """Return the sums of the labels of one block.

    `padded` (z + 2, y + 2, x + 2) holds the block's labels and one voxel more on every side, which belongs to other
    blocks or is 0 outside the scan; `origin` is the block's first voxel in the scan. `image` (z, y, x) has the grey
    values of the block in any real dtype; without it the grey sums are those of no voxel. `kinds` is the number
    of kinds of directions that are told apart, see `surface`.
    """
    core = padded[1:-1, 1:-1, 1:-1]
    index = index_labels(core)
    sums = LabelSums.empty(index.labels, kinds)
    _walk(padded, np.array(origin, np.int64), index, sums)
    if image is not None:
        add_grey(core, image, index, GreySums(sums.grey_low, sums.grey_high, sums.grey_total, sums.grey_squares))
    return sums


@njit(nogil=True, cache=True)
def _walk(padded: Labels, origin: Integers, index: LabelIndex, sums: LabelSums) -> None:
    nz, ny, nx = padded.shape[0] - 2, padded.shape[1] - 2, padded.shape[2] - 2
    kinds = sums.intercepts.shape[1]
    around = np.zeros((kinds, nx), np.uint8)
    for k in range(nz):
        z = origin[0] + k
        for j in range(ny):
            y = origin[1] + j
            line = padded[k + 1, j + 1]
            if kinds == CUBES:
                _count_exits(padded, k + 1, j + 1, around)
            else:
                _count_exits_by_axes(padded, k + 1, j + 1, around)
            i = 0
            while i < nx:
                label = line[i + 1]
                if label == 0:
                    i += 1
                    continue
                start = i
                a = f = b = np.int64(0)
                while i < nx and line[i + 1] == label:
                    a += around[0, i]
                    f += around[1, i]
                    b += around[2, i]
                    i += 1
                row = row_of(label, index)
                _add_run(sums, row, z, y, origin[2] + start, np.int64(i - start))
                sums.intercepts[row, 0] += a
                sums.intercepts[row, 1] += f
                sums.intercepts[row, 2] += b
                for kind in range(3, kinds):
                    for i_of_run in range(start, i):
                        sums.intercepts[row, kind] += around[kind, i_of_run]


@njit(nogil=True, cache=True, inline="always")
def _add_run(sums: LabelSums, row: int, z: int, y: int, x: int, n: np.int64) -> None:
    """Add `n` voxels along x, from (z, y, x) on, in closed form."""
    # Sums of x + 0, x + 1, ... x + n - 1 and of their squares.
    steps = n * (n - 1) // 2
    sum_x = n * x + steps
    sum_xx = n * x * x + 2 * x * steps + (n - 1) * n * (2 * n - 1) // 6
    sums.voxels[row] += n
    sums.first[row, 0] += n * z
    sums.first[row, 1] += n * y
    sums.first[row, 2] += sum_x
    sums.second[row, 0] += n * z * z
    sums.second[row, 1] += n * y * y
    sums.second[row, 2] += sum_xx
    sums.second[row, 3] += n * z * y
    sums.second[row, 4] += z * sum_x
    sums.second[row, 5] += y * sum_x
    sums.low[row, 0] = min(sums.low[row, 0], z)
    sums.low[row, 1] = min(sums.low[row, 1], y)
    sums.low[row, 2] = min(sums.low[row, 2], x)
    sums.high[row, 0] = max(sums.high[row, 0], z)
    sums.high[row, 1] = max(sums.high[row, 1], y)
    sums.high[row, 2] = max(sums.high[row, 2], x + n - 1)


@njit(nogil=True, cache=True)
def _count_exits(padded: Labels, k: int, j: int, around: Counts) -> None:
    """For every voxel of row (k, j): forward neighbours of another label along axes, face and body diagonals."""
    axes, faces, bodies = around[0], around[1], around[2]
    here, behind = padded[k, j], padded[k, j + 1]
    above_before, above, above_behind = padded[k + 1, j - 1], padded[k + 1, j], padded[k + 1, j + 1]
    for i in range(axes.size):
        c = here[i + 1]
        axes[i] = np.uint8(c != here[i + 2]) + np.uint8(c != behind[i + 1]) + np.uint8(c != above[i + 1])
        faces[i] = (
            np.uint8(c != behind[i])
            + np.uint8(c != behind[i + 2])
            + np.uint8(c != above[i])
            + np.uint8(c != above[i + 2])
            + np.uint8(c != above_before[i + 1])
            + np.uint8(c != above_behind[i + 1])
        )
        bodies[i] = (
            np.uint8(c != above_before[i])
            + np.uint8(c != above_before[i + 2])
            + np.uint8(c != above_behind[i])
            + np.uint8(c != above_behind[i + 2])
        )


@njit(nogil=True, cache=True)
def _count_exits_by_axes(padded: Labels, k: int, j: int, around: Counts) -> None:
    """For every voxel of row (k, j): forward neighbours of another label, by the axes along which they lie."""
    here, behind = padded[k, j], padded[k, j + 1]
    above_before, above, above_behind = padded[k + 1, j - 1], padded[k + 1, j], padded[k + 1, j + 1]
    z, y, x, yx, zx, zy, body = around[0], around[1], around[2], around[3], around[4], around[5], around[6]
    for i in range(z.size):
        c = here[i + 1]
        z[i] = np.uint8(c != above[i + 1])
        y[i] = np.uint8(c != behind[i + 1])
        x[i] = np.uint8(c != here[i + 2])
        yx[i] = np.uint8(c != behind[i]) + np.uint8(c != behind[i + 2])
        zx[i] = np.uint8(c != above[i]) + np.uint8(c != above[i + 2])
        zy[i] = np.uint8(c != above_before[i + 1]) + np.uint8(c != above_behind[i + 1])
        body[i] = (
            np.uint8(c != above_before[i])
            + np.uint8(c != above_before[i + 2])
            + np.uint8(c != above_behind[i])
            + np.uint8(c != above_behind[i + 2])
        )
