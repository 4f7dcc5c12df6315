"""NIfTI volumes (.nii, .nii.gz), read as a stream.

NIfTI stores x fastest and z slowest, so a range of slices is one run of bytes and, read in C order, already has axes
(z, y, x). nibabel reads the header; the voxels come straight from the file, and a compressed file is never unpacked
as a whole: slabs asked for in order are unpacked in order, once. Orientation matrices are not applied: axes stay as
stored, and the spacing is that of the header (pixdim).
"""

from __future__ import annotations

import gzip
import logging
import zlib
from math import isfinite
from threading import Lock
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ps3d_core.errors import InputError
from ps3d_core.scan.files import fill_from, open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_MM_PER_UNIT = {"mm": 1.0, "micron": 1e-3, "meter": 1000.0, "unknown": 1.0}
_QUIET = logging.getLogger(f"{__name__}.header")  # nibabel logs what it mends; what it cannot mend it raises
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_NIFTI2 = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # a header of 540 bytes, in either byte order
_BROKEN = (EOFError, OSError, ValueError, OverflowError, zlib.error)


class NiftiVolume(ScanReader):
    """A 3-D NIfTI-1 or NIfTI-2 file.

    Values come as stored. Where the header scales them (slope, intercept) they are delivered scaled, as float32, or
    as float64 when that is what they need: stored integers of 32 and 64 bits, float64.
    """

    def __init__(self, location: Location) -> None:
        self._name = str(location)
        self._lock = Lock()
        self._raw = open_to_read(location)
        self._packed = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        self._stream: BinaryIO = self._raw
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
        self._scaling = self._read_scaling(header)
        if self._scaling:
            self.dtype = np.result_type(self.dtype, np.float32)
            factor, offset = self._scaling
            self.notes = (f"values are stored in units of {factor:g} above {offset:g}: kept as {self.dtype}",)
        self.spacing = _spacing(header) if self._states_lengths else None
        self._start = self._read_start(header)
        self._slice_bytes = self.shape[1] * self.shape[2] * self._stored.itemsize
        if not self._packed and size_of(self._raw) < self._start + self.shape[0] * self._slice_bytes:
            raise InputError(f"{self._name}: truncated, shorter than {self.shape} voxels; restore the file")

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self._stored)
        with self._lock:
            try:
                self._stream.seek(self._start + start * self._slice_bytes)
                whole = fill_from(self._stream, slab)
                if whole and stop == self.shape[0]:
                    self._stream.read(1)  # reaching the end verifies the checksum of a compressed file
            except _BROKEN as error:
                raise InputError(f"{self._name}: damaged ({error}); restore the file") from error
        if not whole:
            raise InputError(f"{self._name}: truncated before slice {stop}; restore the file")
        if self._scaling is None:
            return slab.astype(self.dtype, copy=False)
        scaled = np.empty(slab.shape, self.dtype)
        slope, offset = self._scaling
        with np.errstate(over="ignore"):  # infinite then, which ingest refuses
            for stored, values in zip(slab, scaled, strict=True):
                values[...] = stored * np.float64(slope) + offset
        return scaled

    def close(self) -> None:  # noqa: D102
        self._stream.close()
        self._raw.close()

    def _read_scaling(self, header: Any) -> tuple[float, float] | None:
        try:
            slope, offset = header.get_slope_inter()
        except HeaderDataError as error:
            raise InputError(f"{self._name}: {error}; correct scl_slope and scl_inter") from error
        return None if slope in (None, 1.0) and not offset else (float(slope or 1), float(offset or 0))

    def _read_start(self, header: Any) -> int:
        start = float(header["vox_offset"])
        if not (isfinite(start) and start >= header.sizeof_hdr):
            raise InputError(f"{self._name}: voxels begin at byte {start:g}; must be behind the header; restore it")
        return int(start)

    def _read_header(self) -> Any:
        if self._packed:
            self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw, mode="rb"))
        try:
            block = self._stream.read(nib.Nifti2Header.sizeof_hdr)
            kind: Any = nib.Nifti2Header if block[:4] in _NIFTI2 else nib.Nifti1Header
            header = kind(block[: kind.sizeof_hdr], check=False)
            magic = header["magic"].item()
            if not magic.startswith((b"n+", b"ni")):
                raise InputError(f"{self._name}: not a NIfTI file (magic {magic!r}); restore it or convert the scan")
            self._states_lengths = bool(np.all(header["pixdim"][1:4]))  # zeros are made 1 by what follows
            header.check_fix(logger=_QUIET)
        except (WrapStructError, HeaderDataError, *_BROKEN) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{self._name}: not a NIfTI file ({reason}); restore it or convert the scan") from error
        if magic.startswith(b"ni"):
            raise InputError(f"{self._name}: header without voxels (.hdr/.img pair); save it as one .nii file")
        return header


def _spacing(header: Any) -> Spacing | None:
    # Without a unit NIfTI means mm by custom; all ones without a unit is what programs write that know nothing.
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = "unknown"
    x, y, z = (_decimal(length) * _MM_PER_UNIT.get(unit, 1.0) for length in header.get_zooms()[:3])
    unknown = unit == "unknown" and x == y == z == 1.0
    known = not unknown and all(isfinite(side) and side > 0 for side in (x, y, z))
    return (z, y, x) if known else None


def _decimal(length: np.floating[Any]) -> float:
    # NIfTI-1 holds float32: 0.01 comes back as 0.00999999977 and means 0.01.
    return float(f"{length:.7g}") if length.itemsize == 4 else float(length)
