"""Border-core classes: the three values a network gives a voxel, read and checked.

Everything below the network works on these. They may come from anywhere (another program's float64 Zarr too), so a
box of them is checked each time it is read: a wrong class must stop a run, not become a particle.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import read_box

BACKGROUND: Final = 0
CORE: Final = 1
BORDER: Final = 2


def read_classes(array: zarr.Array[Any], box: Box) -> npt.NDArray[np.uint8]:
    """Classes of `box`, uint8: 0 background, 1 core, 2 border. Any number type is accepted, other values are not."""
    data = read_box(array, box)
    with np.errstate(invalid="ignore"):
        classes = data.astype(np.uint8, copy=False)
    if classes.max(initial=0) > BORDER or (data.dtype != np.uint8 and not np.array_equal(classes, data)):
        wrong = data[~np.isin(data, (BACKGROUND, CORE, BORDER))].flat[0]
        raise InputError(
            f"border-core value {wrong} in {array.store_path} {box}: only 0 (background), 1 (core) and 2 (border) "
            "are classes; give a border-core volume"
        )
    return classes
