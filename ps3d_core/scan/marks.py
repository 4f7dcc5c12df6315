"""The mark that says of a volume that it was written here: what bears none may be the only copy of somebody's scan."""

from __future__ import annotations

import zlib
from typing import Any, Final

import nibabel as nib

from ps3d_core import __version__
from ps3d_core.errors import Ps3dError
from ps3d_core.scan.files import open_to_read, require_plain
from ps3d_core.scan.tiff_page import open_tiff, reading
from ps3d_core.store.location import Location
from ps3d_core.store.ome import GROUP_FILE

MARK: Final = "ps3d"
"""Software of a TIFF, description of a NIfTI, name of the attribute of a Zarr."""
ZARR_MARK: Final[dict[str, Any]] = {MARK: {"exported": True, "version": __version__}}
_UNREADABLE: Final = (Ps3dError, OSError, ValueError)
_PACKED_START: Final = 4096  # bytes of a .nii.gz that hold its header for sure


def tiff_is_marked(file: Location) -> bool:
    """Whether the TIFF file was written here, by its first page; False for what is no TIFF or cannot be read."""
    try:
        with open_to_read(file) as stream, open_tiff(stream, str(file)) as tif, reading(str(file)):
            return tif.pages.first.software == MARK
    except _UNREADABLE:
        return False


def nifti_is_marked(file: Location) -> bool:
    """Whether the NIfTI file, packed or not, was written here; False for what is none or cannot be read."""
    try:
        require_plain(file)
        start = file.read_start(_PACKED_START)
        if start.startswith(b"\x1f\x8b"):
            start = zlib.decompressobj(wbits=31).decompress(start, nib.Nifti2Header.sizeof_hdr)
    except (*_UNREADABLE, zlib.error):
        return False
    kinds: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
    for kind in kinds:
        size = int.from_bytes(start[:4], "little")
        if size == kind.sizeof_hdr <= len(start):
            return bool(kind(start[:size], check=False)["descrip"].item() == MARK.encode())
    return False


def zarr_is_marked(folder: Location) -> bool:
    """Whether the OME-Zarr image is an export, not an ingested scan; False for what is none or cannot be read."""
    try:
        group = (folder / GROUP_FILE).read_json()
        return bool(group["attributes"][MARK]["exported"] is True)
    except (*_UNREADABLE, LookupError, TypeError):
        return False
