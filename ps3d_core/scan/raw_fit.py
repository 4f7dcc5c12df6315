"""A file of raw voxels that is not as long as it should be: what would fit instead."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Any, Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape, shape_text

_SIZES: Final = {1: "uint8", 2: "uint16", 4: "float32", 8: "float64"}
_TOLD: Final = 3
_LONGEST_HEADER: Final = 2**20


def check_fit(name: str, size: int, shape: Shape, stored: np.dtype[Any], start: int | None) -> None:
    """Raise `InputError` that names layouts that would fit when a file of `size` bytes does not have this one.

    Voxels whose first byte is known may be followed by less than a slice of something else; without a start they are
    the whole file.
    """
    needed = prod(shape) * stored.itemsize
    behind = size - needed - (start or 0)
    if behind == 0 or (start is not None and 0 < behind < needed // shape[0]):
        return
    told = list(islice(_candidates(size, shape, stored, start or 0), _TOLD))
    rest = f"{size - (start or 0)} bytes" + (f" from byte {start} on" if start else "")
    problem = f"{name}: {rest} are not {shape_text(shape)} {stored.name} voxels ({needed} bytes)"
    raise InputError(problem + (f"; {', or '.join(told)}" if told else ""), "correct <raw>", "restore the file")


def _candidates(size: int, shape: Shape, stored: np.dtype[Any], start: int) -> Iterator[str]:
    slice_voxels, rest = prod(shape[1:]), size - start
    rows = f"rows of {shape[1]} x {shape[2]}"
    others = [(stored.itemsize, stored.name), *((n, kind) for n, kind in _SIZES.items() if n != stored.itemsize)]
    for itemsize, kind in others[1:]:
        if rest == prod(shape) * itemsize:
            yield f"{kind} would fit"
    for itemsize, kind in others:
        slices, left = divmod(rest, slice_voxels * itemsize)
        if not left and slices not in (0, 1, shape[0]):
            yield f"{kind} with {rows} would be {slices} slices"
    excess = size - prod(shape) * stored.itemsize
    if 0 < excess <= _LONGEST_HEADER and excess != start:
        yield f"with a header before them the voxels would begin at byte {excess}"
