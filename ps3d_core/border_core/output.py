"""Label images that are written block by block over several runs, each of which may end at any moment.

An output carries two attributes: what it becomes (the fingerprint of the step that writes it) and which ledger knows
its blocks. A run that finds another ledger there, or none, starts the image over and forgets which blocks it had
finished. So parameters and blocks may change to and fro, and the image may be deleted or replaced between runs, and
still no voxel of an older state is taken for a new one.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import numpy as np
import zarr

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.arrays import create_array, ensure_array, object_shape, open_array, shard_shape
from ps3d_core.store.content import forget_content
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location

RESULT: Final = "ps3d_result"
LEDGER: Final = "ps3d_ledger"


def claim_output(location: Location, shape: Shape, result: str, ledger: Ledger) -> zarr.Array[Any]:
    """Return the uint32 array at `location`, ready for the blocks that `ledger` does not know.

    An array of this shape that is there already, such as level 0 of a new OME-Zarr image, is used as it is; a label
    array of another shape is replaced.

    Raises:
        InputError: when something other than a uint32 array is there.

    """
    array = _existing(location)
    attributes: dict[str, Any] = {RESULT: result, LEDGER: ledger.fingerprint}
    if array is None or array.shape != shape:
        ledger.clear()
        # In one step: an array that is left without them would be somebody else's.
        return create_array(location, shape, np.uint32, overwrite=array is not None, attributes=attributes)
    if array.attrs.get(LEDGER) == ledger.fingerprint and array.attrs.get(RESULT) == result:
        return array
    ledger.clear()
    forget_content(location)
    return open_array(location, writable=True).update_attributes(attributes)


def refuse_foreign(location: Location) -> None:
    """Raise `InputError` when labels that no run made are at `location`: nobody's annotations are written over."""
    array = _existing(location, writable=False)  # a store that may write makes its folder
    if array is not None and RESULT not in array.attrs:
        raise InputError(
            f"{location}: holds labels that ps3d instances did not make; choose another output or remove it"
        )


def ensure_output(location: Location, shape: Shape) -> None:
    """Make an array at `location` that `claim_output` can use, of which no user could want to keep a damaged one."""
    ensure_array(location, shape, np.uint32, attributes={RESULT: ""})


def output_blocks(location: Location, shape: Shape, block_shape: Shape) -> BlockGrid:
    """Return blocks of whole shards of the output, the smallest that are not smaller than `block_shape`.

    An output that is not there, or has another shape, is going to be made with the shards of any new array.
    """
    array = _existing(location, writable=False)
    shard = shard_shape(shape) if array is None or array.shape != shape else object_shape(array)
    sides = (min(n, ceil(side / g) * g) for side, g, n in zip(block_shape, shard, shape, strict=True))
    z, y, x = sides
    return BlockGrid(shape, (z, y, x))


def _existing(location: Location, *, writable: bool = True) -> zarr.Array[Any] | None:
    try:
        array = open_array(location, writable=writable)
    except (MissingDataError, InputError) as error:
        if isinstance(error, InputError) or location.children():
            raise InputError(f"{location}: holds something other than a label array; choose another output") from error
        return None
    if array.dtype != np.uint32:
        raise InputError(f"{location}: holds an array of {array.dtype}, labels are uint32; choose another output")
    return array
