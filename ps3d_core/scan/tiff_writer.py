"""Volumes as TIFF: a folder of slices, or one file.

What is called .ome.tif becomes OME-TIFF. Of others small grey volumes become ImageJ stacks, which every program opens
with its spacing; the rest are plain TIFF, Big above 4 GB. Nothing is compressed: the files are for programs that may
not know a codec.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import TiffWriter

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.slabs import Slabs
from ps3d_core.scan.suffixes import BIG_TIFF_SUFFIXES, OME_TIFF_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing
from ps3d_core.store.ownership import MARK

SLICE_NAME = "slice_{index:0{digits}d}.tif"
CLASSIC_LIMIT = 4 * 10**9  # bytes of voxels; offsets of 32 bits leave a little more
IMAGEJ_TYPES = ("uint8", "uint16", "float32")
OME_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def write_tiff(
    location: Location,
    slabs: Slabs,
    shape: Shape,
    dtype: np.dtype[Any],
    place: Placed,
    name: str,
) -> None:
    """Write one local TIFF file with a page per slice, voxels contiguous, as a file of this `name` is expected to be.

    OME-TIFF when it ends in .ome.tif; BigTIFF when it ends in .btf, and above 4 GB. Raise `InputError` for voxels of a
    type that OME-TIFF does not have.
    """
    path, spacing = location.local_path, place.spacing
    if path is None:
        raise ValueError(f"{location} is not local")
    path.parent.mkdir(parents=True, exist_ok=True)
    ome, big = name.lower().endswith(OME_TIFF_SUFFIXES), name.lower().endswith(BIG_TIFF_SUFFIXES)
    big = big or prod(shape) * dtype.itemsize > CLASSIC_LIMIT
    # A last axis of one voxel would be taken for the samples of a pixel.
    imagej = not (big or ome) and str(dtype) in IMAGEJ_TYPES and shape[2] > 1
    if ome and str(dtype) not in OME_TYPES:
        raise InputError(f"{name}: OME-TIFF has no voxels of type {dtype}; call the file .tif, without .ome")
    with TiffWriter(path, bigtiff=big, imagej=imagej, ome=ome) as tif:
        tif.write(
            _slices(slabs),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            software=MARK,
            metadata=_ome_metadata(spacing) if ome else _metadata(spacing, imagej=imagej),
            **_resolution(spacing, per_mm=imagej),
        )


def write_tiff_slices(
    location: Location, slabs: Slabs, shape: Shape, spacing: Spacing | None, name: str = SLICE_NAME
) -> None:
    """Write a folder (or prefix) of slice_0000.tif, slice_0001.tif, ...

    `name` is formatted with `index` and `digits`.
    """
    digits = max(4, len(str(shape[0] - 1)))
    for index, values in enumerate(_slices(slabs)):
        file = io.BytesIO()
        with TiffWriter(file) as tif:
            tif.write(
                values, photometric="minisblack", software=MARK, metadata=None, **_resolution(spacing, per_mm=False)
            )
        (location / name.format(index=index, digits=digits)).write_bytes(file.getvalue())


def _slices(slabs: Slabs) -> Iterator[npt.NDArray[Any]]:
    for slab in slabs:
        yield from slab


def _metadata(spacing: Spacing | None, *, imagej: bool) -> dict[str, Any]:
    axes = {"axes": "ZYX"}
    if spacing is None:
        return axes
    return {**axes, "spacing": spacing[0] if imagej else list(spacing), "unit": "mm"}


def _ome_metadata(spacing: Spacing | None) -> dict[str, Any]:
    """Edges in micrometres, for which some programs take them whatever the unit."""
    edges: dict[str, Any] = {"axes": "ZYX"}
    for axis, side in zip("ZYX", spacing or (), strict=False):
        edges |= {f"PhysicalSize{axis}": float(f"{1000 * side:.12g}"), f"PhysicalSize{axis}Unit": "µm"}
    return edges


def _resolution(spacing: Spacing | None, *, per_mm: bool) -> dict[str, Any]:
    # ImageJ counts pixels per unit of its own metadata, everyone else per centimetre.
    if spacing is None:
        return {}
    _, y, x = spacing
    if per_mm:
        return {"resolution": (1 / x, 1 / y), "resolutionunit": "NONE"}
    return {"resolution": (10 / x, 10 / y), "resolutionunit": "CENTIMETER"}
