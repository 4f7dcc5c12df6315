"""Ranges of slices of an HDF5 dataset, of three axes or two, read into arrays that are there."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ps3d_core.scan.hdf5_chunks import ChunkCheck
from ps3d_core.scan.hdf5_file import Found


class HeldDataset:
    """An open dataset, with those of its axes that are not left out because they have length 1."""

    def __init__(self, found: Found) -> None:
        self._array = found.item
        shape = self._array.shape
        axes = list(range(len(shape)))
        while len(axes) > 3:
            axes.remove(next(axis for axis in axes if shape[axis] == 1))
        self.axes = tuple(axes)
        self._check = ChunkCheck(self._array)

    def read(self, start: int, stop: int, slab: npt.NDArray[Any]) -> None:
        """Fill `slab` (z, y, x) with slices `start` to `stop`, converted to its dtype. A 2-D dataset is one slice."""
        import h5py

        array, axes = self._array, self.axes
        first, count = [0] * array.ndim, [1] * array.ndim
        for axis, side in zip(axes[-2:], slab.shape[-2:], strict=True):
            count[axis] = side
        if len(axes) == 3:
            first[axes[0]], count[axes[0]] = start, stop - start
        self._check.require_sound([(at, at + length) for at, length in zip(first, count, strict=True)])
        space = array.id.get_space()
        space.select_hyperslab(tuple(first), tuple(count))
        array.id.read(h5py.h5s.create_simple(slab.shape), space, slab)
