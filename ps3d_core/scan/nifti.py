"""NIfTI volumes (.nii, .nii.gz), read as a stream.

nibabel reads the header; the voxels come straight from the file, see `flat`. Orientation matrices are not applied:
axes stay as stored, and the spacing is that of the header (pixdim).
"""

from __future__ import annotations

import logging
from math import isfinite, isinf, isnan
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat import BROKEN, FlatLayout, FlatVoxels, unpacked
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.suffixes import NIFTI_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}
_MM_PER_UNIT = {"mm": 1.0, "micron": 1e-3, "meter": 1000.0, "unknown": 1.0}
_QUIET = logging.getLogger(f"{__name__}.header")  # nibabel logs what it mends; what it cannot mend it raises
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_NIFTI2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # a header of 540 bytes, in either byte order
_STRAIGHT = 1e-3  # cosine below which two axes stand at right angles
_SAME = 0.01  # relative difference of spacings that are taken to be one


class NiftiVolume(ScanReader):
    """A 3-D NIfTI-1 or NIfTI-2 file.

    Values come as stored. Where the header scales them (slope, intercept) they are delivered scaled, as float32, or
    as float64 when that is what they need: stored integers of 32 and 64 bits, float64.
    """

    suffixes = NIFTI_SUFFIXES

    def __init__(self, location: Location) -> None:
        self._name = str(location)
        self._raw = open_to_read(location)
        self._packed = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self.description = f"NIfTI file {location.name} of {self.shape[0]} slices"

    def _open(self) -> None:
        header = self._read_header()
        sides = tuple(int(n) for n in header.get_data_shape())
        while len(sides) > 3 and sides[-1] == 1:
            sides = sides[:-1]
        if len(sides) == 2:
            sides = (*sides, 1)
        self.shape = scan_shape(sides[::-1], self._name)
        self._stored = header.get_data_dtype()
        if self._stored.names is not None:
            raise InputError(f"{self._name}: RGB; must be 1 grey value per voxel; convert to greyscale")
        self.dtype = scan_dtype(self._stored, self._name)
        self._scaling, unscaled = self._read_scaling(header)
        notes = [unscaled]
        if self._scaling:
            self.dtype = np.result_type(self.dtype, np.float32)
            factor, offset = self._scaling
            notes = [f"values are stored in units of {factor:g} above {offset:g}: kept as {self.dtype}"]
        self.spacing, self.spacing_doubt = _spacing(header, self._lengths)
        self.notes = tuple(filter(None, (*notes, self.spacing_doubt, _turned(header))))
        layout = FlatLayout(self.shape, self._stored, self._read_start(header), "gzip" if self._packed else None)
        self._voxels = FlatVoxels(self._raw, layout, self._name)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = self._voxels.read(start, stop)
        if self._scaling is None:
            return slab
        scaled = np.empty(slab.shape, self.dtype)
        slope, offset = self._scaling
        with np.errstate(over="ignore"):  # infinite then, which ingest refuses
            for stored, values in zip(slab, scaled, strict=True):
                values[...] = stored * np.float64(slope) + offset
        return scaled

    def close(self) -> None:  # noqa: D102
        self._raw.close()

    def _read_scaling(self, header: Any) -> tuple[tuple[float, float] | None, str | None]:
        slope, offset = (float(header[field]) for field in ("scl_slope", "scl_inter"))
        if isinf(slope) or (isinf(offset) and slope) or (isnan(offset) and not isnan(slope) and slope):
            raise InputError(f"{self._name}: values scaled by {slope} above {offset}; correct scl_slope and scl_inter")
        if isnan(slope) or slope == 0:  # which mean: not scaled
            means_more = isfinite(offset) and offset != 0
            return None, f"scl_inter {offset:g} without a slope is not applied" if means_more else None
        return None if (slope, offset) == (1.0, 0.0) else (slope, offset), None

    def _read_start(self, header: Any) -> int:
        start = float(header["vox_offset"])
        if not (isfinite(start) and start >= header.sizeof_hdr):
            raise InputError(f"{self._name}: voxels begin at byte {start:g}; must be behind the header; restore it")
        return int(start)

    def _read_header(self) -> Any:
        try:
            block = unpacked(self._raw, "gzip" if self._packed else None).read(nib.Nifti2Header.sizeof_hdr)
            kind: Any = nib.Nifti2Header if block[:4] in _NIFTI2 else nib.Nifti1Header
            header = kind(block[: kind.sizeof_hdr], check=False)
            magic = header["magic"].item()
            if not magic.startswith((b"n+", b"ni")):
                raise InputError(f"{self._name}: not a NIfTI file (magic {magic!r}); restore it or convert the scan")
            self._lengths = np.array(header["pixdim"][1:4])  # zeros and signs are mended by what follows
            bits = int(header["bitpix"])
            header.check_fix(logger=_QUIET)
            if bits not in (0, int(header["bitpix"])):
                kind = header.get_data_dtype()
                raise InputError(
                    f"{self._name}: voxels of {bits} bits and of type {kind}; restore it or convert the scan"
                )
        except (WrapStructError, HeaderDataError, *BROKEN) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{self._name}: not a NIfTI file ({reason}); restore it or convert the scan") from error
        if magic.startswith(b"ni"):
            raise InputError(f"{self._name}: header without voxels (.hdr/.img pair); save it as one .nii file")
        return header


def _spacing(header: Any, lengths: npt.NDArray[Any]) -> tuple[Spacing | None, str | None]:
    """Spacing in mm where it is beyond doubt, and else why what is stated is not believed."""
    x, y, z = map(_decimal, lengths)
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
            z, y, x = map(_decimal, sides[::-1])
            return None, f"{stated}: its sform says {z:g}, {y:g}, {x:g}"
    mm = _MM_PER_UNIT[unit]
    return (z * mm, y * mm, x * mm), None


def _turned(header: Any) -> str | None:
    """Return a note about axes that do not lie along those of the room, in their order and direction; else None."""
    columns = _axes(header)
    try:
        if columns is None:
            columns = header.get_qform()[:3, :3] if int(header["qform_code"]) > 0 else np.eye(3)
    except (ValueError, HeaderDataError):
        columns = np.full((3, 3), np.nan)
    if not np.isfinite(columns).all():
        return "its orientation is no rotation and is not applied"
    longest = np.abs(columns).max()
    columns = columns / (longest or 1)
    turned = np.abs(columns - np.diag(np.diag(columns))).max() > _STRAIGHT
    mirrored = np.linalg.det(columns) < 0
    if turned or mirrored:
        return f"its header {'turns' if turned else 'mirrors'} the axes; they are taken as stored"
    return None


def _axes(header: Any) -> npt.NDArray[Any] | None:
    """The columns of the sform, where there is one."""
    return header.get_sform()[:3, :3] if int(header["sform_code"]) > 0 else None


def _decimal(length: np.floating[Any]) -> float:
    # NIfTI-1 holds float32: 0.01 comes back as 0.00999999977 and means 0.01.
    return float(f"{length:.7g}") if length.itemsize == 4 else float(f"{length:.12g}")
