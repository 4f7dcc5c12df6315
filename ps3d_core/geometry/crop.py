"""A box out of an array, without memory for both."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box


def crop_in_place(array: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
    """Return the voxels of `box` as a C-contiguous array that lies where `array` begins; `array` is spoiled.

    `array` is C-contiguous. Touching new memory costs more than moving the voxels.
    """
    flat = array.reshape(-1)
    _move(array, box.start, box.shape, flat)
    return flat[: prod(box.shape)].reshape(box.shape)


@njit(nogil=True, cache=True)
def _move(
    array: npt.NDArray[Any], start: tuple[int, int, int], shape: tuple[int, int, int], flat: npt.NDArray[Any]
) -> None:
    """In C order no voxel is written before it has been read: what is read is never before what is written.

    By way of a row that overlaps neither, which the compiler can move at vector speed.
    """
    depth, height, width = shape
    row = np.empty(width, flat.dtype)
    for z in range(depth):
        for y in range(height):
            old, new = array[start[0] + z, start[1] + y], (z * height + y) * width
            for x in range(width):
                row[x] = old[start[2] + x]
            for x in range(width):
                flat[new + x] = row[x]
