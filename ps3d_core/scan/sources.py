"""Open whatever a user names as a scan."""

from __future__ import annotations

import os
from typing import cast

from ps3d_core.errors import InputError
from ps3d_core.scan.array_volume import ArrayLike, ArrayVolume, folder_of, is_array
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.readers import reader_of
from ps3d_core.scan.suffixes import ZARR_FILES
from ps3d_core.store.location import Location

Source = str | os.PathLike[str] | Location | ArrayLike
"""What names a volume: a path, a URL, or an array of this process."""
_PAIR_ENDINGS = (".hdr", ".img", ".hdr.gz", ".img.gz")


def open_scan(source: Source, *, allow_gaps: bool = False, series: str | None = None) -> ScanReader:
    """Open a folder of TIFF slices, a multi-page TIFF, a NIfTI file, a Zarr array or an OME-Zarr image for reading.

    Packages may add formats, see `ps3d_core.scan.readers`.

    `source` is a path, any fsspec URL, or an array (NumPy, Zarr, Dask). Of a folder with several scans, `series`
    chooses one, see `one_series`. `allow_gaps` accepts slices whose numbering leaves some out. Raise `InputError` that
    names what is wrong with the source.
    """
    location = place_of(source)
    if location is None:
        return ArrayVolume(cast(ArrayLike, source))
    if not location.exists():
        raise InputError(f"{location}: no such file or folder; check the path")
    children = location.children() if location.is_dir() else None
    if children is None:
        location.require_plain()
    if (reader := reader_of(location, children)) is None:
        raise _unknown(location)
    return reader.opened(location, allow_gaps=allow_gaps, series=series)


def place_of(source: Source) -> Location | None:
    """Return where a volume lies; None for an array that is in memory, or may be computed."""
    return folder_of(source) if is_array(source) else Location.parse(cast(str, source))


def _unknown(location: Location) -> InputError:
    """Return what to give instead of a file that no reader reads."""
    name = location.name.lower()
    if name.endswith(_PAIR_ENDINGS):
        return InputError(f"{location}: half of a pair of files (.hdr, .img); save the scan as one .nii file")
    if name.endswith(".zip"):
        return InputError(f"{location}: a packed file; unpack it and give the folder")
    return InputError(
        f"{location}: unknown kind of file; give a folder of TIFF slices, a TIFF, .nii or .nii.gz file, or a Zarr"
    )


def is_zarr(location: Location) -> bool:
    """Return whether a Zarr array or group is at `location`; False where there is nothing."""
    return bool(ZARR_FILES & set(location.children()))
