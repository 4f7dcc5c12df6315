"""Volumes as NIfTI, written front to back: header, then slices as they come."""

from __future__ import annotations

import gzip
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.slabs import Slabs
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK

LONGEST_SIDE = 2**15 - 1  # of NIfTI-1; longer ones need NIfTI-2
COMPRESSION = 1  # the fastest; higher levels gain little on noise


def write_nifti(
    location: Location,
    slabs: Slabs,
    shape: Shape,
    dtype: np.dtype[Any],
    place: Placed,
    *,
    compressed: bool,
) -> None:
    """Write a NIfTI file, gzipped or not, axes x, y, z, without rotation.

    Raise `InputError` for a dtype that NIfTI lacks.
    """
    header = _header(shape, dtype, place)
    with location.open_writing() as file:
        if compressed:
            # No name and no time inside: equal volumes give equal files.
            with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as packed:
                _write(cast(BinaryIO, packed), header, slabs)
        else:
            _write(file, header, slabs)


def _write(file: BinaryIO, header: bytes, slabs: Slabs) -> None:
    file.write(header)
    for slab in slabs:
        file.write(np.ascontiguousarray(slab).data)


def _header(shape: Shape, dtype: np.dtype[Any], place: Placed) -> bytes:
    kind: Any = nib.Nifti1Header if max(shape) <= LONGEST_SIDE else nib.Nifti2Header
    header = kind()
    try:
        header.set_data_dtype(dtype)
    except HeaderDataError as error:
        raise InputError(f"voxels of type {dtype}: NIfTI cannot hold them; export as zarr or tiff") from error
    sides = tuple(reversed(place.spacing or (1.0, 1.0, 1.0)))
    affine = np.diag((*sides, 1.0))
    affine[:3, 3] = place.origin[::-1]
    header.set_data_shape(tuple(reversed(shape)))
    header.set_zooms(sides)
    header.set_xyzt_units("mm" if place.spacing else "unknown")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_slope_inter(1, 0)
    header["descrip"] = MARK
    offset = header.single_vox_offset
    header["vox_offset"] = offset
    block = bytes(header.binaryblock)
    return block + bytes(offset - len(block))
