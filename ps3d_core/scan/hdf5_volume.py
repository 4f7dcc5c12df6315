"""HDF5 and NeXus files (.h5, .hdf5, .nxs, ...): one dataset with three axes, read a range of slices at a time.

Chunks are decoded by the library and its filters. A dataset that lacks voxels is refused, see `hdf5_whole`; links do
not lead out of the folder, see `hdf5_file`. HDF5 has no checksums of voxels unless a file was written with the filter
fletcher32, and then they are verified.
"""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import SourceParams
from ps3d_core.scan.hdf5_file import Hdf5Files, reading
from ps3d_core.scan.hdf5_find import Choice, attribute, found_volume, is_colour, volume_shape
from ps3d_core.scan.hdf5_read import HeldDataset
from ps3d_core.scan.hdf5_spacing import axes_note, hdf5_origin, hdf5_spacing
from ps3d_core.scan.hdf5_whole import full_name, require_whole
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.suffixes import HDF5_SUFFIXES
from ps3d_core.store.location import Location

_CHANGES_NOTHING: Final = {
    **dict.fromkeys(("scale_factor", "scaling_factor", "scaling", "slope", "rescale_slope"), 1),
    **dict.fromkeys(("add_offset", "offset", "intercept", "rescale_intercept"), 0),
}
"""Attributes that say what a stored number stands for."""


class Hdf5Volume(ScanReader):
    """A dataset with three axes of numbers; of more, where the others have length 1."""

    suffixes = HDF5_SUFFIXES
    takes = frozenset({"inside"})

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open the dataset at `params.inside`, or the one that is found, see `hdf5_find`."""
        return cls(location, params.inside)

    def __init__(self, location: Location, inside: str | None = None) -> None:
        self._files = Hdf5Files(location)
        try:
            self._open(found_volume(self._files, inside))
        except BaseException:
            self.close()
            raise

    def _open(self, choice: Choice) -> None:
        found = choice.found
        self._name = full_name(found)
        with reading(self._name):
            shape = found.item.shape or ()
            sides = volume_shape(shape)
            if is_colour(found.item, sides):
                raise InputError(f"{self._name}: {shape}: RGB; must be 1 grey value per voxel; convert to greyscale")
            self.shape = scan_shape(sides, self._name)
            self.dtype = scan_dtype(found.item.dtype, self._name)
            self._held = HeldDataset(found)
        require_whole(self._files, found)
        self.spacing, self.spacing_from, self.spacing_doubt = hdf5_spacing(self._files, found, self._held.axes)
        self.origin = hdf5_origin(self._files, found, self._held.axes, self.spacing)
        with reading(self._name):
            chunks = found.item.chunks
            self.chunk_depth = chunks[self._held.axes[0]] if chunks else 1
            self.notes = tuple(filter(None, (*self._notes(choice), self.spacing_doubt)))
        self.beside = tuple(sorted(self._files.beside - {self._files.location}))
        self.description = f"HDF5 dataset {found.path} in {self._files.location.name} of {self.shape[0]} slices"

    def _notes(self, choice: Choice) -> list[str | None]:
        array = choice.found.item
        asked = [
            f"{name} {value}"
            for name, nothing in _CHANGES_NOTHING.items()
            if (value := attribute(array, name)) is not None and np.any(value != nothing)
        ]
        layer = self.chunk_depth * prod(self.shape[1:]) * self.dtype.itemsize
        return [
            "by what lies beside it these are projections, not yet a volume" if choice.is_projections else None,
            axes_note(self._files, choice.found, self._held.axes),
            f"its attributes say {' and '.join(asked)}, which are not applied: voxels are taken as they are stored"
            if asked
            else None,
            f"chunks of {array.chunks}: a layer of them has {layer / 2**30:.1f} GiB and is decoded several times"
            if layer > SLABS_BYTES // 4
            else None,
            f"a link in it was not followed: {self._files.unreached[0]}" if self._files.unreached else None,
        ]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        with reading(self._name):
            self._held.read(start, stop, slab)
        return slab

    def close(self) -> None:  # noqa: D102
        self._files.close()
