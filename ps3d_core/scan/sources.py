"""Open whatever a user names as a scan."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.scan.nifti import NiftiVolume
from ps3d_core.scan.nifti_writer import NIFTI_ENDINGS
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.tiff_slices import TIFF_ENDINGS, TiffSlices, slice_names
from ps3d_core.scan.tiff_stack import TiffStack
from ps3d_core.scan.zarr_volume import ZarrVolume
from ps3d_core.store.location import Location

ZARR_FILES = {"zarr.json", ".zarray", ".zgroup"}
"""Of which a folder that is a Zarr, of version 3 or 2, has one at its top."""


def open_scan(source: str | Location, *, allow_gaps: bool = False) -> ScanReader:
    """A reader for a folder of TIFF slices, a multi-page TIFF, a NIfTI file, a Zarr array or an OME-Zarr image.

    `source` is a path or any fsspec URL. `allow_gaps` accepts slices whose numbering leaves some out. `InputError`
    names what is wrong with the source.
    """
    location = Location.parse(source)
    name = location.name.lower()
    if not location.exists():
        raise InputError(f"{location}: no such file or folder; check the path")
    if location.is_dir():
        if {*ZARR_FILES, ".zattrs"} & set(location.children()):
            return ZarrVolume(location)
        slices = slice_names(location)
        return TiffStack(location / slices[0]) if len(slices) == 1 else TiffSlices(location, allow_gaps=allow_gaps)
    if name.endswith(TIFF_ENDINGS):
        return TiffStack(location)
    if name.endswith(NIFTI_ENDINGS):
        return NiftiVolume(location)
    if name.endswith(".zip"):
        raise InputError(f"{location}: a packed file; unpack it and give the folder")
    raise InputError(
        f"{location}: unknown kind of file; give a folder of TIFF slices, a TIFF, .nii or .nii.gz file, or a Zarr"
    )


def is_zarr(location: Location) -> bool:
    """Whether a Zarr array or group is at `location`; False where there is nothing."""
    return bool(ZARR_FILES & set(location.children()))
