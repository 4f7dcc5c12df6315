"""Zarr arrays and OME-Zarr images in a ZIP archive (.zarr.zip, .ozx) as a source."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import BinaryIO, Self

from ps3d_core.params import SourceParams
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.suffixes import PACKED_ZARR_SUFFIXES
from ps3d_core.scan.zarr_volume import ZarrVolume
from ps3d_core.store.location import Location
from ps3d_core.store.volume import Chosen
from ps3d_core.store.zipped import Archive


class ZippedZarr(ZarrVolume):
    """Level 0 of an OME-Zarr image, or an array, in an archive of which it is all, or the part that is asked for."""

    suffixes = PACKED_ZARR_SUFFIXES
    takes = ZarrVolume.takes | {"inside"}
    _file: BinaryIO

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a file at `location` is called like an archive of a Zarr."""
        return children is None and location.name.lower().endswith(cls.suffixes)

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> Self:
        """Open the image of the archive, or what lies at the path inside that `params` name."""
        with ExitStack() as stack:
            file = stack.enter_context(open_to_read(location))
            place = Archive(file, str(location)).root
            if inside := (params.inside or "").strip("/"):
                place = place / inside
            reader = cls(place, Chosen(params.channel, params.time))
            reader._file = file
            stack.pop_all()
        return reader

    def close(self) -> None:
        """Close the archive."""
        self._file.close()
