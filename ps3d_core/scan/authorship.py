"""How a volume of each format says that it was written here: what does not may be the only copy of somebody's scan.

Software of a TIFF, description of a NIfTI, a line of a MetaImage's or NRRD's header, an attribute of a Zarr or HDF5;
see `store.ownership`.
"""

from __future__ import annotations

import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import nibabel as nib

from ps3d_core.errors import Ps3dError
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat_writer import META_MARK, NRRD_MARK
from ps3d_core.scan.hdf5_file import Hdf5Files
from ps3d_core.scan.hdf5_find import attribute, text_of
from ps3d_core.scan.tiff_page import open_tiff, reading
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK, is_link, is_own, strangers, zarr_attributes, zarr_is_own
from ps3d_core.version import __version__

ZARR_MARK: Final[dict[str, Any]] = {MARK: {"exported": True, "version": __version__}}
SLICE_FILES: Final = re.compile(r"[^/]+\.tiff?|\.ps3d\.json|\.[^/]+\.[0-9a-f]{32}\.tmp")
"""Names below a folder of slices that is written here."""
_READERS: Final = 16
_UNREADABLE: Final = (Ps3dError, OSError, ValueError)
_PACKED_START: Final = 4096  # bytes of a .nii.gz that hold its header for sure
_FLAT_START: Final = 1024  # of a header of text that is written here
_FLAT_MARKS: Final = {b"ObjectType": META_MARK.encode(), b"NRRD": NRRD_MARK.encode()}


def slices_are_marked(folder: Location) -> bool:
    """Return whether all that lies in `folder` are TIFF slices that ps3d wrote, or a broken-off writing of such."""
    if is_link(folder) or not folder.is_dir() or strangers(folder, SLICE_FILES):
        return False
    slices = [folder / name for name in folder.children() if not name.startswith(".")]
    with ThreadPoolExecutor(_READERS, "authorship") as threads:
        return (bool(slices) or is_own(folder)) and all(threads.map(tiff_is_marked, slices))


def tiff_is_marked(file: Location) -> bool:
    """Return whether ps3d wrote the TIFF file, by its first page; False for what is no TIFF or cannot be read."""
    try:
        with open_to_read(file) as stream, open_tiff(stream, str(file)) as tif, reading(str(file)):
            return tif.pages.first.software == MARK
    except _UNREADABLE:
        return False


def nifti_is_marked(file: Location) -> bool:
    """Return whether ps3d wrote the NIfTI file, packed or not; False for what is no NIfTI or cannot be read."""
    try:
        file.require_plain()
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


def flat_is_marked(file: Location) -> bool:
    """Return whether ps3d wrote the MetaImage or NRRD file; False for what is none or cannot be read."""
    try:
        file.require_plain()
        lines = file.read_start(_FLAT_START).split(b"\n")
    except _UNREADABLE:
        return False
    return any(lines[0].startswith(first) and mark in lines[1:] for first, mark in _FLAT_MARKS.items())


def hdf5_is_marked(file: Location) -> bool:
    """Return whether ps3d wrote the HDF5 file; False for what is none or cannot be read."""
    try:
        with Hdf5Files(file) as files:
            return text_of(attribute(files.root.item, "creator")) == MARK
    except _UNREADABLE:
        return False


def zarr_is_exported(folder: Location) -> bool:
    """Return whether the Zarr is an export of ps3d's, not an ingested scan or a result; False for what is no Zarr."""
    about = zarr_attributes(folder).get(MARK)
    return isinstance(about, dict) and about.get("exported") is True and zarr_is_own(folder)
