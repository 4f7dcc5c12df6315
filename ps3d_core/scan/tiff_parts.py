"""A scan in several TIFF files of several pages each, joined in the order of their names.

Every part is checked when the scan is opened, and closed again; of what is read only a few parts are open at a time.
The files of an OME scan name each other: none is followed, but where they say in which order they belong, that has to
be the order of the names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate, groupby
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.tiff_page import open_tiff
from ps3d_core.scan.tiff_slice import full_pages
from ps3d_core.scan.tiff_spacing import planes_named
from ps3d_core.scan.tiff_stack import TiffStack
from ps3d_core.store.location import Location

_OPEN: Final = 4
"""Parts that are open at a time."""
_LOOKED_AT: Final = 4


def are_parts(folder: Location, names: Sequence[str]) -> bool:
    """Return whether these TIFF files, two or more in order, are parts of a scan of several slices each.

    One of several slices among many of one is none: it strayed there. The last part may have a single slice.
    """
    if _slices_in(folder / names[0]) < 2:
        return False
    return len(names) == 2 or any(_slices_in(folder / name) > 1 for name in names[1 : 1 + _LOOKED_AT])


def _slices_in(location: Location) -> int:
    """Number of slices in a file; 1 for what cannot be read, which whoever reads it names."""
    try:
        with open_to_read(location) as file, open_tiff(file, str(location)) as tif:
            promised = (tif.imagej_metadata or {}).get("images", 1)
            return max(len(full_pages(tif, str(location))), int(promised))
    except (InputError, TypeError, ValueError):
        return 1


class TiffParts(ScanReader):
    """The slices of the files `names` of `folder`, one file after the other. All must be alike but for their number."""

    def __init__(self, folder: Location, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._lock = Lock()
        self._open: OrderedDict[int, TiffStack] = OrderedDict()
        depths = []
        for index, name in enumerate(names):
            with TiffStack(folder / name, is_part=True) as part:
                if index == 0:
                    self._like, spacings = part, {part.spacing}
                    self.dtype, self.notes = part.dtype, part.notes
                self._compare(name, part)
                self._check_order(part)
                spacings.add(part.spacing)
                depths.append(part.shape[0])
        self._starts = [0, *accumulate(depths)]
        self.shape = (self._starts[-1], *self._like.shape[1:])
        self._check_count()
        if len(spacings) == 1:
            self.spacing = self._like.spacing
        else:
            self.spacing_doubt = f"its parts, {names[0]} to {names[-1]}, do not all say the same spacing"
            self.notes += (self.spacing_doubt,)
        self.description = f"{len(names)} TIFF files of {self.shape[0]} slices, {names[0]} to {names[-1]}"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        at = start
        while at < stop:
            index = bisect_right(self._starts, at) - 1
            first, end = self._starts[index], min(self._starts[index + 1], stop)
            with self._lock:
                slab[at - start : end - start] = self._part(index).read(at - first, end - first)
            at = end
        return slab

    def close(self) -> None:  # noqa: D102
        while self._open:
            self._open.popitem()[1].close()

    def _part(self, index: int) -> TiffStack:
        if index not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[index] = TiffStack(self._folder / self._names[index], is_part=True)
            depth = self._starts[index + 1] - self._starts[index]
            if self._open[index].shape != (depth, *self.shape[1:]) or self._open[index].dtype != self.dtype:
                name = self._folder / self._names[index]
                raise InputError(f"{name}: changed while being read; is it still being written? try again later")
        self._open.move_to_end(index)
        return self._open[index]

    def _compare(self, name: str, part: TiffStack) -> None:
        if part.kind != self._like.kind:
            raise InputError(
                f"{self._folder / name}: {part.kind}; must be {self._like.kind} like {self._names[0]}; remove it or "
                "export all parts alike"
            )

    def _check_order(self, part: TiffStack) -> None:
        """Raise `InputError` when the OME-XML of a part names other files, or the same in another order."""
        planes, _, _ = planes_named(part.ome_xml)
        planes.sort()
        order = [name for name, _ in groupby(plane.file for plane in planes)]
        if len(order) < 2:
            return
        pages = [[plane.page for plane in group] for _, group in groupby(planes, key=lambda plane: plane.file)]
        if order != list(self._names) or any(of_file != sorted(of_file) for of_file in pages):
            raise InputError(
                f"{self._folder}: by name its parts are {self._names[0]} to {self._names[-1]} in order, their OME-XML "
                f"says {', '.join(order[:3])}{', ...' if len(order) > 3 else ''}; restore all parts with the names "
                "that they had, or save the scan as one file"
            )

    def _check_count(self) -> None:
        """Raise `InputError` when the OME-XML promises more slices than all parts have."""
        planes, promised, others = planes_named(self._like.ome_xml)
        if len({plane.file for plane in planes}) > 1 and (promised, others) != (self.shape[0], 1):
            raise InputError(
                f"{self._folder}: {self.shape[0]} slices in {len(self._names)} parts, their OME-XML promises "
                f"{promised} in {others} channels and times; restore all parts, or save one channel as one file"
            )
