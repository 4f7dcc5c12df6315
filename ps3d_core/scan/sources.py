"""Open whatever a user names as a scan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from ps3d_core.errors import InputError
from ps3d_core.scan.array_volume import ArrayLike, ArrayVolume, folder_of, is_array
from ps3d_core.scan.endings import NIFTI_ENDINGS, TIFF_ENDINGS, ZARR_FILES
from ps3d_core.scan.nifti import NiftiVolume
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slice_names import one_series, unread_beside
from ps3d_core.scan.tiff_slices import TiffSlices, slice_names
from ps3d_core.scan.tiff_stack import TiffStack
from ps3d_core.scan.zarr_volume import ZarrVolume
from ps3d_core.store.location import Location

Source = str | os.PathLike[str] | Location | ArrayLike
"""What names a volume: a path, a URL, or an array of this process."""
_PAIR_ENDINGS = (".hdr", ".img", ".hdr.gz", ".img.gz")


def open_scan(source: Source, *, allow_gaps: bool = False, series: str | None = None) -> ScanReader:
    """Open a folder of TIFF slices, a multi-page TIFF, a NIfTI file, a Zarr array or an OME-Zarr image for reading.

    `source` is a path, any fsspec URL, or an array (NumPy, Zarr, Dask). Of a folder with several scans, `series`
    chooses one, see `one_series`. `allow_gaps` accepts slices whose numbering leaves some out. `InputError` names what
    is wrong with the source.
    """
    location = place_of(source)
    if location is None:
        return ArrayVolume(cast(ArrayLike, source))
    name = location.name.lower()
    if not location.exists():
        raise InputError(f"{location}: no such file or folder; check the path")
    if location.is_dir():
        if not {*ZARR_FILES, ".zattrs"} & set(location.children()):
            return _open_folder(location, allow_gaps=allow_gaps, series=series)
        _refuse_series(location, series)
        return ZarrVolume(location)
    location.require_plain()
    _refuse_series(location, series)
    if name.endswith(TIFF_ENDINGS):
        return TiffStack(location)
    if name.endswith(NIFTI_ENDINGS):
        return NiftiVolume(location)
    if name.endswith(_PAIR_ENDINGS):
        raise InputError(f"{location}: half of a pair of files (.hdr, .img); save the scan as one .nii file")
    if name.endswith(".zip"):
        raise InputError(f"{location}: a packed file; unpack it and give the folder")
    raise InputError(
        f"{location}: unknown kind of file; give a folder of TIFF slices, a TIFF, .nii or .nii.gz file, or a Zarr"
    )


def place_of(source: Source) -> Location | None:
    """Where a volume lies; None for an array that is in memory, or may be computed."""
    return folder_of(source) if is_array(source) else Location.parse(cast(str, source))


def _open_folder(folder: Location, *, allow_gaps: bool, series: str | None) -> ScanReader:
    names: Sequence[str] = slice_names(folder)
    if not names and (folder / "images").is_dir():
        raise InputError(
            f"{folder}: a dataset, not one volume; give one of its scans, like {folder / 'images' / 'NAME.zarr'}"
        )
    if not names:
        raise InputError(f"{folder}: no TIFF slices (*.tif, *.tiff) here; give the folder that holds them")
    others = set(folder.children()) - set(names)
    names = one_series(names, str(folder), series=series, allow_gaps=allow_gaps)
    reader = TiffStack(folder / names[0]) if len(names) == 1 else TiffSlices(folder, names)
    if unread := unread_beside(names, (name for name in others if not name.startswith("."))):
        reader.notes += (
            f"{len(unread)} files named like its slices are no TIFF files and not read, {unread[0]} the first; are "
            "they slices, too?",
        )
    return reader


def _refuse_series(location: Location, series: str | None) -> None:
    if series is not None:
        raise InputError(f"{location}: not a folder of TIFF slices, among which to choose", "leave out <series>")


def is_zarr(location: Location) -> bool:
    """Whether a Zarr array or group is at `location`; False where there is nothing."""
    return bool(ZARR_FILES & set(location.children()))
