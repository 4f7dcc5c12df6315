"""NIfTI volumes (.nii, .nii.gz; headers of pairs, see `pairs`), read as a stream.

nibabel reads the header; the voxels come straight from the file, see `flat`. Orientation matrices are not applied:
axes stay as stored, and the spacing is that of the header (pixdim).
"""

from __future__ import annotations

import logging
from math import isfinite, isnan
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat import BROKEN, FlatLayout, Packing, unpacked
from ps3d_core.scan.flat_volume import FlatVolume
from ps3d_core.scan.grey_scaling import GreyScaling, scaling_of
from ps3d_core.scan.header_text import LONGEST
from ps3d_core.scan.reader import scan_shape
from ps3d_core.scan.stated_spacing import orientation_note
from ps3d_core.scan.suffixes import NIFTI_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}
_MM_PER_UNIT = {"mm": 1.0, "micron": 1e-3, "meter": 1000.0, "unknown": 1.0}
_QUIET = logging.getLogger(f"{__name__}.header")  # nibabel logs what it mends; what it cannot mend it raises
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_NIFTI2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # a header of 540 bytes, in either byte order
_SAME = 0.01  # relative difference of spacings that are taken to be one


class NiftiVolume(FlatVolume):
    """A 3-D NIfTI-1 or NIfTI-2 file, or the header of a pair.

    Values come as stored. Where the header scales them (slope, intercept) they are delivered scaled, as float32, or
    as float64 when that is what they need: stored integers of 32 and 64 bits, float64.
    """

    suffixes = NIFTI_SUFFIXES

    def __init__(self, location: Location, voxels: Location | None = None) -> None:
        """Open a file, or a header and the file of its `voxels`."""
        name = str(location)
        header, lengths = _read_header(location)
        is_half = header["magic"].item().startswith(b"ni")
        if is_half and voxels is None:
            raise InputError(f"{name}: header without voxels; name it .hdr, beside the .img file with the voxels")
        if voxels is not None and not is_half:
            raise InputError(f"{name}: says that its voxels follow in the same file; name it .nii")
        shape = grey_shape(header, name)
        scaling, unscaled = _scaling(header, name)
        start = _start(header, name, 0 if voxels else int(header.sizeof_hdr))
        packing: Packing | None = "gzip" if is_gzip(voxels or location) else None
        layout = FlatLayout(shape, header.get_data_dtype(), start, packing)
        super().__init__(
            [voxels or location],
            layout,
            location,
            spacing=(spacing := _spacing(header, lengths)),
            origin=_origin(header, spacing[0]),
            scaling=scaling,
            notes=(unscaled, _turned(header)),
        )
        self.description = f"NIfTI file {location.name} of {self.shape[0]} slices"


def grey_shape(header: Any, name: str) -> Shape:
    """Return the shape of the one volume of a nibabel header. Raise `InputError` for colours, and for several."""
    sides = tuple(int(n) for n in header.get_data_shape())
    while len(sides) > 3 and sides[-1] == 1:
        sides = sides[:-1]
    if len(sides) == 2:
        sides = (*sides, 1)
    shape = scan_shape(sides[::-1], name)
    if header.get_data_dtype().names is not None:
        raise InputError(f"{name}: RGB; must be 1 grey value per voxel; convert to greyscale")
    return shape


def is_gzip(location: Location) -> bool:
    """Return whether the file is packed."""
    with open_to_read(location) as file:
        return file.read(2) == b"\x1f\x8b"


def read_block(location: Location, *, whole: bool = False) -> bytes:
    """Return what holds a header, unpacked. Raise `InputError` when it is damaged.

    A file that is a header as a `whole` is read to its end, where its checksum is.
    """
    packing: Packing | None = "gzip" if is_gzip(location) else None
    with open_to_read(location) as file:
        try:
            stream = unpacked(file, packing)
            block = stream.read(nib.Nifti2Header.sizeof_hdr)
            if whole and packing and len(stream.read(LONGEST)) == LONGEST:
                raise InputError(f"{location}: longer than a header can be; restore it, or name it otherwise")
        except BROKEN as error:
            if isinstance(error, InputError):
                raise
            raise _no_header(location, error) from error
    return block


def checked_header(kind: Any, block: bytes, location: Location) -> Any:
    """Return the nibabel header of a `kind`, mended where that changes nothing that is read of it.

    Raise `InputError` when it is none.
    """
    try:
        header = kind(block[: kind.sizeof_hdr], check=False)
        bits = int(header["bitpix"])
        header.check_fix(logger=_QUIET)
    except (WrapStructError, HeaderDataError, *BROKEN) as error:
        raise _no_header(location, error) from error
    if bits not in (0, int(header["bitpix"])):
        stored = header.get_data_dtype()
        raise InputError(f"{location}: voxels of {bits} bits and of type {stored}; restore it or convert the scan")
    return header


def _no_header(location: Location, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(f"{location}: not a NIfTI file ({reason}); restore it or convert the scan")


def _read_header(location: Location) -> tuple[Any, npt.NDArray[Any]]:
    """Return the header and its lengths (pixdim) as they stand there."""
    block = read_block(location)
    kind: Any = nib.Nifti2Header if block[:4] in _NIFTI2 else nib.Nifti1Header
    try:
        raw = kind(block[: kind.sizeof_hdr], check=False)
    except (WrapStructError, HeaderDataError, *BROKEN) as error:
        raise _no_header(location, error) from error
    if not (magic := raw["magic"].item()).startswith((b"n+", b"ni")):
        raise InputError(f"{location}: not a NIfTI file (magic {magic!r}); restore it or convert the scan")
    lengths = np.array(raw["pixdim"][1:4])  # zeros and signs are mended by what follows
    return checked_header(kind, block, location), lengths


def _scaling(header: Any, name: str) -> tuple[GreyScaling | None, str | None]:
    slope, offset = (float(header[field]) for field in ("scl_slope", "scl_inter"))
    if isnan(slope) or slope == 0:  # which mean: not scaled
        means_more = isfinite(offset) and offset != 0
        return None, f"scl_inter {offset:g} without a slope is not applied" if means_more else None
    return scaling_of(slope, offset, name, "scl_slope and scl_inter"), None


def _start(header: Any, name: str, least: int) -> int:
    start = float(header["vox_offset"])
    if not (isfinite(start) and start >= least):
        raise InputError(f"{name}: voxels begin at byte {start:g}; must be behind the header; restore it")
    return int(start)


def _spacing(header: Any, lengths: npt.NDArray[Any]) -> tuple[Spacing | None, str | None]:
    """Spacing in mm where it is beyond doubt, and else why what is stated is not believed."""
    x, y, z = map(decimal, lengths)
    stated = f"its spacing {z:g}, {y:g}, {x:g} (z, y, x) is not used"
    code = int(header["xyzt_units"]) & 7
    unit = _UNITS.get(code)
    if unit is None:
        return None, f"{stated}: unit {code} is none of NIfTI's"
    if unit == "unknown" and x == y == z == 1.0:  # what programs write that know nothing
        return None, None
    if not all(isfinite(side) and side > 0 for side in (x, y, z)):
        return None, f"{stated}: lengths must be above 0"
    if (columns := _axes(header)) is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            sides = np.linalg.norm(columns, axis=0)
        if not np.allclose(sides, (x, y, z), rtol=_SAME, atol=0):
            z, y, x = map(decimal, sides[::-1])
            return None, f"{stated}: its sform says {z:g}, {y:g}, {x:g}"
    mm = _MM_PER_UNIT[unit]
    return (z * mm, y * mm, x * mm), None


def _origin(header: Any, spacing: Spacing | None) -> Spacing:
    """Where an affine that turns nothing puts the first voxel (z, y, x), mm."""
    codes = [int(header[code]) for code in ("sform_code", "qform_code")]
    if spacing is None or not any(code > 0 for code in codes) or _turned(header) is not None:
        return 0.0, 0.0, 0.0
    places = header.structarr
    shifts = [places[f"srow_{axis}"][3] if codes[0] > 0 else places[f"qoffset_{axis}"] for axis in "xyz"]
    unit = _MM_PER_UNIT[_UNITS[int(header["xyzt_units"]) & 7]]
    x, y, z = (decimal(shift) * unit for shift in shifts)
    return (z, y, x) if all(map(isfinite, (z, y, x))) else (0.0, 0.0, 0.0)


def _turned(header: Any) -> str | None:
    """Return a note about axes that do not lie along those of the room, in their order and direction; else None."""
    columns = _axes(header)
    try:
        if columns is None:
            columns = header.get_qform()[:3, :3] if int(header["qform_code"]) > 0 else np.eye(3)
    except (ValueError, HeaderDataError):
        columns = np.full((3, 3), np.nan)
    return orientation_note(columns)


def _axes(header: Any) -> npt.NDArray[Any] | None:
    """The columns of the sform, where there is one."""
    return header.get_sform()[:3, :3] if int(header["sform_code"]) > 0 else None


def decimal(length: np.floating[Any]) -> float:
    """Return the decimal number that a length of a header stands for."""
    # NIfTI-1 holds float32: 0.01 comes back as 0.00999999977 and means 0.01.
    return float(f"{length:.7g}") if length.itemsize == 4 else float(f"{length:.12g}")
