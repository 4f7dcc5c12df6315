"""Small spheres scattered by a lattice: inclusions, pores and bubbles.

A lattice cell holds one sphere or none, wholly inside the cell, drawn from a hash of the cell. So a box needs to look
only at the cells it touches, and no sphere depends on another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.fields import hash3, unit

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


def sphere_field(seed: np.uint64, box: Box, *, largest: float, density: float, positive: float) -> F32:
    """Return the share of each voxel of `box` that spheres fill, signed, float32.

    A share `positive` of the spheres counts as +, the others as -. largest: greatest radius in voxels (small ones are
    more frequent); density: share of the cells that hold one.
    """
    out = np.zeros(box.shape, np.float32)
    cell = 2.0 * largest + 3.0
    start = np.asarray(box.start, dtype=np.int64)
    low = np.floor(start / cell).astype(np.int64)
    high = np.floor((start + box.shape) / cell).astype(np.int64) + 1
    _fill(seed, start, low, high, cell, largest, density, positive, out)
    return out


@njit(nogil=True, cache=True)
def _fill(
    seed: np.uint64,
    start: I64,
    low: I64,
    high: I64,
    cell: float,
    largest: float,
    density: float,
    positive: float,
    out: F32,
) -> None:
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    centre = np.empty(3, np.float64)
    for k in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for i in range(low[2], high[2]):
                h = hash3(seed, k, j, i)
                if unit(h) >= density:
                    continue
                u = unit(hash3(h, 1, 0, 0))
                r = 0.6 + (largest - 0.6) * u * u
                room = cell - 2.0 * r - 2.0
                for a, index in enumerate((k, j, i)):
                    centre[a] = (index * cell + r + 1.0) + room * unit(hash3(h, 2 + a, 0, 0))
                    first[a] = max(int(np.floor(centre[a] - r - 1.0)), start[a])
                    last[a] = min(int(np.floor(centre[a] + r + 1.0)) + 2, start[a] + out.shape[a])
                sign = np.float32(1.0) if unit(hash3(h, 5, 0, 0)) < positive else np.float32(-1.0)
                for z in range(first[0], last[0]):
                    for y in range(first[1], last[1]):
                        for x in range(first[2], last[2]):
                            d = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
                            fill = np.float32(min(max(0.5 + r - d, 0.0), 1.0))
                            if fill > 0:
                                out[z - start[0], y - start[1], x - start[2]] = sign * fill
