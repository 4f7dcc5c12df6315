"""A scan as a sequence of slabs: as many whole slices as fit, the next being read while one is worked on.

reader   | slab 0 | slab 1 | slab 2 | ...
caller            | slab 0 | slab 1 | slab 2 | ...        at most two slabs are alive at any time
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.reader import ScanReader

Slabs = Iterator[npt.NDArray[Any]]

OVERHEAD = 384 * 2**20  # interpreter, libraries, and what encoding a few shards at once holds; measured
SLABS_HELD = 3.0  # one being read, one being written, and the coarser levels and copies made of it
FLATTEST = 32
"""Slices of a slab that is as flat as it should be; what is written in slabs has shards as deep as these."""
SHARE = 32
"""Part of the budget that a slab is not to exceed, unless it were flatter than that."""


def read_ahead(
    reader: ScanReader, depth: int, inspect: Callable[[int, npt.NDArray[Any]], None] | None = None
) -> Generator[tuple[int, npt.NDArray[Any]], None, None]:
    """Yield (first slice, slab) for all slabs of `depth` slices, in order.

    The next slab is read, and shown to `inspect`, in a second thread meanwhile. Errors of either reach the caller.
    """
    slices = reader.shape[0]

    def load(start: int) -> npt.NDArray[Any]:
        slab = reader.read(start, min(start + depth, slices))
        if inspect:
            inspect(start, slab)
        return slab

    with ThreadPoolExecutor(1, "read-ahead") as thread:
        ahead = thread.submit(load, 0)
        for start in range(0, slices, depth):
            slab = ahead.result()
            if start + depth < slices:
                ahead = thread.submit(load, start + depth)
            yield start, slab
            del slab


def deepest_slab(shape: Shape, dtype: npt.DTypeLike, memory_bytes: int, *, most: int, chunk_depth: int = 1) -> int:
    """Return the slices per slab, at most `most`, so that what is held at once is below `memory_bytes`.

    It is much below where `FLATTEST` slices need less: a slab takes no larger `SHARE` of it then. Where it has
    `chunk_depth` slices or more, their number is a multiple of that. Raise `InputError` when not even two slices fit.
    """
    slice_bytes = prod(shape[1:]) * np.dtype(dtype).itemsize
    fitting = int((memory_bytes - OVERHEAD) // (SLABS_HELD * slice_bytes))
    depth = min(most, fitting, max(FLATTEST, memory_bytes // (SHARE * slice_bytes)))
    if depth < 2:
        need = (OVERHEAD + SLABS_HELD * 2 * slice_bytes) / 2**20
        raise InputError(
            f"memory budget {memory_bytes / 2**20:.0f} MiB: slices of {shape[1]} x {shape[2]} {np.dtype(dtype)} need "
            f"at least {need:.0f} MiB",
            "raise <memory>",
            "cut the scan into narrower ones",
        )
    return depth // chunk_depth * chunk_depth or depth
