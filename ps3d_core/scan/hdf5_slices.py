"""A folder of HDF5 files, each with a slice or some of them at the same path: one volume, in the order of names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.hdf5_file import Found, Hdf5Files, reading
from ps3d_core.scan.hdf5_find import found_volume, is_dataset, volume_shape
from ps3d_core.scan.hdf5_read import HeldDataset
from ps3d_core.scan.hdf5_volume import Hdf5Volume
from ps3d_core.scan.hdf5_whole import full_name, require_whole
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.slice_names import one_series, order_note
from ps3d_core.scan.suffixes import DICOM_SUFFIXES, HDF5_SUFFIXES, PICTURE_SUFFIXES, TIFF_SUFFIXES, ZARR_FILES
from ps3d_core.store.location import Location

_SLICES: Final = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, *DICOM_SUFFIXES)


class Hdf5Slices(ScanReader):
    """The HDF5 files `names` of `folder`, in this order: 2-D datasets, or 3-D ones of some slices each."""

    takes = frozenset({"series", "inside"})

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a folder with HDF5 files, and without slices of other formats, is at `location`."""
        if children is None or ZARR_FILES & set(children):
            return False
        return bool(_named(children, HDF5_SUFFIXES)) and not _named(children, _SLICES)

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open the one scan in a folder, or the series of several; see `one_series`."""
        there = _named(location.children(), HDF5_SUFFIXES)
        names = one_series(there, str(location), series=params.series, allow_gaps=params.allow_gaps)
        if len(names) == 1:
            return Hdf5Volume(location / names[0], params.inside)
        reader = cls(location, names, params.inside)
        reader.notes += tuple(filter(None, (order_note(names),)))
        return reader

    def __init__(self, folder: Location, names: Sequence[str], inside: str | None) -> None:
        self._folder, self._names = folder, names
        with Hdf5Files(folder / names[0]) as files:
            self._path = found_volume(files, inside, least_axes=2).found.path
        depths = [self._checked(name) for name in names]
        self._starts = [0, *accumulate(depths)]
        self.shape = scan_shape((self._starts[-1], *self._like[0]), str(folder))
        self.dtype = self._like[1]
        self.chunk_depth = depths[0] if len(set(depths[:-1])) <= 1 else 1
        self.description = f"{len(names)} HDF5 files, {names[0]} to {names[-1]}"

    def _checked(self, name: str) -> int:
        """Slices of a file, which is like the first one, or `InputError`."""
        with Hdf5Files(self._folder / name) as files:
            found = self._find(files)
            with reading(full_name(found)):
                sides = _as_slab(found)
                kind = (sides[1:], scan_dtype(found.item.dtype, full_name(found)))
            if name == self._names[0]:
                self._like = kind
            if kind != self._like:
                raise InputError(
                    f"{full_name(found)}: slices of {kind[0]} {kind[1]}; must be {self._like[0]} {self._like[1]} like "
                    f"those of {self._names[0]}; remove it or export all slices alike"
                )
            require_whole(files, found)
            self.beside += tuple(sorted(files.beside))
            return sides[0]

    def _find(self, files: Hdf5Files) -> Found:
        found = files.find(self._path)
        if found is None or not is_dataset(found):
            raise InputError(f"{files.location}: no dataset at {self._path}, as in {self._names[0]}; restore the file")
        return found

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        at = start
        while at < stop:
            index = bisect_right(self._starts, at) - 1
            first, last = self._starts[index], min(stop, self._starts[index + 1])
            with Hdf5Files(self._folder / self._names[index]) as files:
                found = self._find(files)
                with reading(full_name(found)):
                    if _as_slab(found) != (self._starts[index + 1] - first, *self.shape[1:]):
                        raise InputError(f"{full_name(found)}: changed while it was read; start again")
                    HeldDataset(found).read(at - first, last - first, slab[at - start : last - start])
            at = last
        return slab

    def close(self) -> None:
        """Do nothing, as files are open only while they are read."""


def _named(names: Collection[str], suffixes: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]


def _as_slab(found: Found) -> tuple[int, int, int]:
    sides = volume_shape(found.item.shape or ())
    if len(sides) == 2:
        sides = (1, *sides)
    if len(sides) != 3 or min(sides) < 1:
        raise InputError(f"{full_name(found)}: {found.item.shape}; must be one slice, or some; name it with its path")
    return sides[0], sides[1], sides[2]
