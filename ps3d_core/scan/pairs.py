"""Volumes in two files, header and voxels (.hdr and .img): Analyze 7.5, and NIfTI of this kind.

Either file may be given, and each may be packed. Analyze leaves open what a header's scale factor is for, whether the
first row lies in front, and which unit lengths have; the last is millimetres by custom.
"""

from __future__ import annotations

import re
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.nifti1 import data_type_codes

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.files import require_inside
from ps3d_core.scan.flat import FlatLayout, Packing
from ps3d_core.scan.flat_volume import FlatVolume
from ps3d_core.scan.nifti import NiftiVolume, checked_header, decimal, grey_shape, is_gzip, read_block
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.stated_spacing import spacing_in_mm
from ps3d_core.scan.suffixes import PAIR_SUFFIXES
from ps3d_core.store.location import Location

_PAIR: Final = re.compile(r"(.*)\.(hdr|img)(\.gz)?", re.IGNORECASE | re.DOTALL)
_MAGIC: Final = slice(344, 348)
_MAGIC_2: Final = slice(4, 8)
_NIFTI: Final = (b"ni1\0", b"ni2\0", b"n+1\0", b"n+2\0")
_ANALYZE_BYTES: Final = 348


class _AnalyzeHeader(nib.AnalyzeHeader):
    """Analyze's, with the types that programs of later years write into it: NIfTI's."""

    _data_type_codes = data_type_codes


class AnalyzeVolume(FlatVolume):
    """A 3-D Analyze 7.5 volume, values as stored; and what opens pairs of NIfTI."""

    suffixes = PAIR_SUFFIXES

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open a pair by either of its files."""
        header, voxels = _both(location)
        block = read_block(header, whole=True)
        if block[_MAGIC] in _NIFTI or block[_MAGIC_2] in _NIFTI:
            return NiftiVolume(header, voxels).given_as(location)
        return cls(header, block, voxels).given_as(location)

    def __init__(self, location: Location, block: bytes, voxels: Location) -> None:
        name = str(location)
        sizes = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
        if _ANALYZE_BYTES not in sizes or len(block) < _ANALYZE_BYTES:
            raise InputError(
                f"{name}: not an Analyze or NIfTI header (begins with {block[:12]!r}); restore it or convert the scan"
            )
        header: Any = checked_header(_AnalyzeHeader, block, location)
        lengths = [decimal(length) for length in np.frombuffer(block, header["pixdim"].dtype, 8, 76)[1:4]]
        start = float(header["vox_offset"])
        if not start >= 0 or start > 2**31:
            raise InputError(f"{name}: voxels begin at byte {start:g}; must be 0 or more; restore the header")
        packing: Packing | None = "gzip" if is_gzip(voxels) else None
        layout = FlatLayout(grey_shape(header, name), header.get_data_dtype(), int(start), packing)
        spacing, notes = spacing_in_mm(lengths, _unit(header)), (_scaled(header), _turned(header))
        super().__init__([voxels], layout, location, spacing=spacing, notes=notes)
        self.description = f"Analyze file {location.name} of {self.shape[0]} slices"


def _both(location: Location) -> tuple[Location, Location]:
    match = _PAIR.fullmatch(location.name)
    if match is None:
        raise InputError(f"{location}: neither .hdr nor .img; name it so")
    stem, kind, packed = match[1], match[2].lower(), (match[3] or "").lower()
    wanted = "img" if kind == "hdr" else "hdr"
    there = {name.lower(): name for name in location.parent.children()}
    for suffix in (packed, "" if packed else ".gz"):
        if name := there.get(f"{stem}.{wanted}{suffix}".lower()):
            other = location.parent / name
            require_inside(other, location)
            return (location, other) if kind == "hdr" else (other, location)
    missing = f"{stem}.{wanted}"
    raise InputError(
        f"{location}: one file of a pair; {missing} is not beside it; put it there",
        "say with <raw> how the voxels lie, when it is nothing but voxels",
    )


def _unit(header: Any) -> str | None:
    """Return what the header says of its unit; None for nothing, which means millimetres."""
    text = bytes(header["vox_units"].item()).rstrip(b"\0 ").decode("latin-1").lower()
    return {"": None, "micr": "um", "mill": "mm"}.get(text, text)


def _scaled(header: Any) -> str | None:
    factor = float(header["funused1"])
    if not np.isfinite(factor) or factor in (0.0, 1.0):
        return None
    return f"its header has {factor:g} where SPM keeps a scale factor; it is not applied, values are taken as stored"


def _turned(header: Any) -> str | None:
    orient = bytes(header["orient"].item())
    if orient in (b"", b"\0", b"0"):
        return None
    return f"its header says orient {orient[0]}, not axial; axes are taken as stored"
