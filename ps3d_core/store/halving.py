"""Halving a volume along every axis, for the coarser resolution levels of an image.

Output voxel i covers input voxels 2i and 2i + 1; an odd last voxel stands for itself, and a side of one voxel stays
one. Grey values are averaged; labels take the most frequent id, so that no id appears that was not there.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Shape

Method = Literal["mean", "mode", "nearest"]

VIEWABLE = 256  # a level with all sides below this needs no coarser one
LAYER = 8  # output slices averaged at a time: what lies between stays in the cache


def method_for(dtype: npt.DTypeLike, *, label: bool) -> Method:
    """Return how values of `dtype` are reduced: labels by mode, grey values by mean or nearest.

    Grey values are averaged when they are integers of up to 32 bits, eight of which have an exact sum, or floats of 32
    or 64 bits.
    """
    dtype = np.dtype(dtype)
    if label:
        return "mode"
    return "mean" if (dtype.kind in "iu" and dtype.itemsize <= 4) or dtype in ("f4", "f8") else "nearest"


def half_shape(shape: Shape) -> Shape:
    """Return the shape (z, y, x) of the next coarser level: every side halved and rounded up."""
    z, y, x = ((n + 1) // 2 for n in shape)
    return z, y, x


def level_shapes(shape: Shape, viewable: int = VIEWABLE) -> list[Shape]:
    """Return the shapes (z, y, x) of all levels, level 0 first, until every side is below `viewable` voxels."""
    shapes = [shape]
    while max(shapes[-1]) >= max(viewable, 2):
        shapes.append(half_shape(shapes[-1]))
    return shapes


def halve(block: npt.NDArray[Any], method: Method) -> npt.NDArray[Any]:
    """Return `block` (z, y, x) at half the resolution, same dtype, shape `half_shape(block.shape)`.

    A mean of integers is rounded half up. A mode with several candidates takes the lowest id.
    """
    if method == "nearest" or not block.size:
        return np.ascontiguousarray(block[::2, ::2, ::2])
    z, y, x = block.shape
    out = np.empty(half_shape((z, y, x)), block.dtype)
    if method == "mode":
        _mode(block, out)
    else:
        for first in range(0, z, 2 * LAYER):
            out[first // 2 : first // 2 + LAYER] = _mean(block[first : first + 2 * LAYER])
    return out


def _mean(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    is_float = block.dtype.kind == "f"
    total = block if is_float else block.astype(np.int64 if block.dtype.itemsize > 2 else np.int32)
    for axis in range(3):
        total = _pair_sums(total, axis)
    mean: npt.NDArray[Any] = np.divide(total, 8) if is_float else np.right_shift(total + 4, 3)
    return mean


def _pair_sums(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    values = np.moveaxis(values, axis, 0)
    total = values[::2].copy(order="K")
    total[: len(values) // 2] += values[1::2]
    if len(values) % 2:
        total[-1] *= 2  # counted twice, an odd last voxel leaves the mean of its neighbours as it is
    return np.moveaxis(total, 0, axis)


@njit(nogil=True, cache=True)
def _mode(block: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    nz, ny, nx = block.shape
    ids = np.empty(8, block.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n = 0
                alike = True
                for k in range(8):
                    kz, ky, kx = 2 * z + (k >> 2), 2 * y + (k >> 1 & 1), 2 * x + (k & 1)
                    if kz < nz and ky < ny and kx < nx:
                        ids[n] = block[kz, ky, kx]
                        alike = alike and ids[n] == ids[0]
                        n += 1
                out[z, y, x] = ids[0] if alike else _most_frequent(ids, n)


@njit(nogil=True, cache=True)
def _most_frequent(ids: npt.NDArray[Any], n: int) -> Any:
    best, votes = ids[0], 0
    for i in range(n):
        count = 0
        for j in range(n):
            count += ids[j] == ids[i]
        if count > votes or (count == votes and ids[i] < best):
            best, votes = ids[i], count
    return best
