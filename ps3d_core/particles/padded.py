"""Labels of a block with what lies around it, as kernels want them that look at neighbours."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import zarr

from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box
from ps3d_core.particles.label_index import Labels, as_labels
from ps3d_core.store.arrays import read_box

HALO: Final = 1


def read_padded(array: zarr.Array[Any], block: Block, name: str) -> Labels:
    """Return labels (z + 2, y + 2, x + 2), uint32, of a block and one voxel around it; 0 beyond the faces of the scan.

    The block has a halo of 1. Its plane below is left 0: kernels look from a voxel to those that follow it, and for
    one plane whole chunks would be decoded. Raise `InputError`, which names the array as `name`, when its values are no
    labels.
    """
    start, (z, y, x) = block.core.start, block.core.shape
    seen = Box((start[0], *block.outer.start[1:]), block.outer.stop)
    padded = np.zeros((z + 2, y + 2, x + 2), np.uint32)
    inside = padded[seen.shift((HALO - start[0], HALO - start[1], HALO - start[2])).slices]
    if array.dtype == np.uint32:
        read_box(array, seen, inside)
    else:
        inside[...] = as_labels(read_box(array, seen), name)
    return padded
