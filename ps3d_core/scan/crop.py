"""A part of a scan, or every Nth voxel of it, read without reading the rest where the format allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape, shape_text
from ps3d_core.params import SourceParams
from ps3d_core.scan.reader import DerivedReader, ScanReader
from ps3d_core.source_texts import parsed_crop
from ps3d_core.store.ome import Spacing

_HELD: Final = 64 * 2**20
"""Bytes of the source that are read at a time, unless a single slice or chunk has more."""
_AXES: Final = "zyx"


class Cropped(DerivedReader):
    """Every `every`-th voxel of the box `kept` of another volume, which it owns."""

    def __init__(self, whole: ScanReader, kept: Box, every: int) -> None:
        super().__init__(whole)
        self._kept, self._every = kept, every
        self.shape = _shape(kept, every, whole)
        edges = whole.spacing or (1.0, 1.0, 1.0)
        self.origin = _along(lambda axis: whole.origin[axis] + kept.start[axis] * edges[axis])
        self.spacing = whole.spacing and _along(lambda axis: edges[axis] * every)
        self.description = f"{whole.description}, {self._said()}"
        self.chunk_depth = max(1, whole.chunk_depth // every)

    def _said(self) -> str:
        ranges = zip(self._kept.start, self._kept.stop, strict=True)
        whole = zip(_AXES, ranges, self._whole.shape, strict=True)
        box = ", ".join(f"{axis} {a}:{b}" for axis, (a, b), side in whole if (a, b) != (0, side))
        said = filter(None, (box, "" if self._every == 1 else f"one voxel of {self._every} along each axis"))
        return ", ".join(said) or "all of it"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        _, rows, columns = (slice(part.start, part.stop, self._every) for part in self._kept.slices)
        done = 0
        for first, count in self._runs(start, stop):
            last = first + (count - 1) * self._every
            slab[done : done + count] = self._whole.read(first, last + 1)[:: self._every, rows, columns]
            done += count
        return slab

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield first slice of the source and number of wanted slices of each piece that is read at once."""
        slice_bytes = prod(self._whole.shape[1:]) * self.dtype.itemsize
        # Slices between those that are wanted are read along only where they are decoded in any case.
        depth = max(self._whole.chunk_depth, _HELD // slice_bytes if self._every == 1 else 1, 1)
        at = self._kept.start[0] + start * self._every
        end = self._kept.start[0] + (stop - 1) * self._every + 1
        while at < end:
            block_end = min(end, at - at % depth + depth)
            count = -(-(block_end - at) // self._every)
            yield at, count
            at += count * self._every


def cropped(reader: ScanReader, params: SourceParams) -> ScanReader:
    """Return the part of a volume that `params` ask for; the volume itself when that is all of it.

    Lengths are counted from the edge of the volume. Raise `InputError` for a part that does not lie in the volume.
    """
    if params.crop is None and params.every == 1:
        return reader
    return Cropped(reader, _box(reader, params.crop or ",,"), params.every)


def _box(reader: ScanReader, text: str) -> Box:
    starts, stops = [], []
    for axis, (first, last) in enumerate(parsed_crop(text)):
        edge = reader.spacing[axis] if reader.spacing else None
        try:
            start = 0 if first is None else first.voxel(edge)
            stop = reader.shape[axis] if last is None else last.voxel(edge)
        except ValueError as error:
            raise InputError(f"{reader.description}: {error}; {reader.without_spacing}", "give <spacing>") from error
        if not 0 <= start < stop <= reader.shape[axis]:
            raise InputError(
                f"crop {text}: {_AXES[axis]} {start}:{stop} of {reader.description}; must lie in the scan of "
                f"{shape_text(reader.shape)} voxels (z, y, x)",
                "correct <crop>",
            )
        starts.append(start)
        stops.append(stop)
    return Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))


def _shape(kept: Box, every: int, whole: ScanReader) -> Shape:
    """Return the shape of every `every`-th voxel of a box; raise `InputError` for less than 2 slices."""
    z, y, x = (-(-side // every) for side in kept.shape)
    if z < 2:
        raise InputError(
            f"{whole.description}: of its {whole.shape[0]} slices one is asked for; a scan needs at least 2",
            "correct <crop>" if kept.shape[0] < 2 else "correct <every>",
        )
    return z, y, x


def _along(value: Callable[[int], float]) -> Spacing:
    return value(0), value(1), value(2)
