"""Zarr arrays and OME-Zarr images as a source."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import SourceParams
from ps3d_core.scan.ome_xml import spacing_beside
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.suffixes import ZARR_FILES
from ps3d_core.store.arrays import object_shape, read_box
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.location import Location
from ps3d_core.store.ome import (
    image_channels,
    image_origin,
    image_place,
    image_spacing,
    is_label_image,
    open_image,
    unused_scale,
    without_scales,
)
from ps3d_core.store.packing import packing_notes
from ps3d_core.store.presence import absences, absent_when_read
from ps3d_core.store.volume import NOTHING_CHOSEN, Chosen, stored_array


class ZarrVolume(ScanReader):
    """Level 0 of an OME-Zarr image, or a bare Zarr v2 or v3 array: one channel of it at one point in time."""

    takes = frozenset({"channel", "time"})

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a folder with metadata of Zarr 2 or 3 is at `location`."""
        return children is not None and bool({*ZARR_FILES, ".zattrs"} & set(children))

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> Self:
        """Open the channel and the point in time that `params` choose."""
        return cls(location, Chosen(params.channel, params.time))

    def __init__(self, location: Location, chosen: Chosen = NOTHING_CHOSEN) -> None:
        self._array = open_image(location, chosen=chosen)
        self.shape = scan_shape(self._array.shape, str(location))
        self.dtype = scan_dtype(self._array.dtype, str(location))
        require_chunk_fits(self._array, SLABS_BYTES)
        self.notes = absences(self._array) + packing_notes(self._array)
        self._find_spacing(location)
        try:
            self.origin = image_origin(location)
        except InputError as error:  # no reason to do without the voxels
            self.notes += tuple({str(error.args[0])} - set(self.notes))
        self.is_label = is_label_image(location)
        self.chunk_depth = object_shape(self._array)[0]
        self.description = f"Zarr {location.name} of {self.shape[0]} slices{_chosen_text(location, chosen)}"

    def _find_spacing(self, location: Location) -> None:
        try:
            self.spacing = image_spacing(location)
            self.spacing_doubt = unused_scale(location)
        except InputError as error:  # another may be given, and a copy without any is worth having
            self.spacing_doubt = str(error.args[0])
        if (version := without_scales(location)) is not None:
            self.spacing = spacing_beside(image_place(location), stored_array(self._array).shape)
            if self.spacing is None:
                self.spacing_doubt = f"OME-Zarr {version} keeps no spacing"
            else:
                self.spacing_from = f"OME/METADATA.ome.xml, as OME-Zarr {version} keeps none"
        self.notes += (self.spacing_doubt,) if self.spacing_doubt else ()

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        _, y, x = self.shape
        slab = read_box(self._array, Box((start, 0, 0), (stop, y, x)))
        return slab.astype(self.dtype, copy=False)

    @property
    def findings(self) -> tuple[str, ...]:
        """What only reading tells where a store lists nothing."""
        return absent_when_read(self._array)

    def close(self) -> None:
        """Do nothing, as nothing is held open."""


def _chosen_text(location: Location, chosen: Chosen) -> str:
    text = ""
    if chosen.channel is not None:
        labels = image_channels(location)
        called = labels[chosen.channel] if chosen.channel < len(labels) else ""
        text += f", channel {chosen.channel}" + (f" ({called})" if called else "")
    return text if chosen.time is None else f"{text}, time {chosen.time}"
