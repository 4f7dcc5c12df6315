"""Volumes as MetaImage or NRRD, written front to back: a header of text, then slices as they come.

Both hold any number of voxels of any type, and say in the header that they were written here.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np

from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.slabs import Slabs
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing
from ps3d_core.store.ownership import MARK

META_MARK: Final = f"Comment = {MARK}"
NRRD_MARK: Final = f"software:={MARK}"
_META_TYPES: Final = {
    "int8": "MET_CHAR",
    "uint8": "MET_UCHAR",
    "int16": "MET_SHORT",
    "uint16": "MET_USHORT",
    "int32": "MET_INT",
    "uint32": "MET_UINT",
    "int64": "MET_LONG_LONG",
    "uint64": "MET_ULONG_LONG",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}
_NRRD_TYPES: Final = {"float32": "float", "float64": "double"}
_IS_BIG: Final = sys.byteorder == "big"


def write_mha(location: Location, slabs: Slabs, shape: Shape, dtype: np.dtype[Any], place: Placed) -> None:
    """Write a MetaImage in one file (.mha), axes x, y, z, without rotation; its lengths are in mm."""
    spacing = place.spacing
    lines = [
        "ObjectType = Image",
        META_MARK,
        "NDims = 3",
        "BinaryData = True",
        f"BinaryDataByteOrderMSB = {_IS_BIG}",
        "CompressedData = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        f"Offset = {_lengths(place.origin)}",
        *([f"ElementSpacing = {_lengths(spacing)}"] if spacing else []),
        f"DimSize = {_sides(shape)}",
        f"ElementType = {_META_TYPES[dtype.name]}",
        "ElementDataFile = LOCAL",
    ]
    _write(location, lines, slabs)


def write_nrrd(location: Location, slabs: Slabs, shape: Shape, dtype: np.dtype[Any], place: Placed) -> None:
    """Write an NRRD in one file (.nrrd), not packed, axes x, y, z, without rotation, in mm."""
    spaced = []
    if place.spacing:
        z, y, x = (_exact(side) for side in place.spacing)
        spaced = [
            "space dimension: 3",
            f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})",
            'space units: "mm" "mm" "mm"',
            f"space origin: ({_lengths(place.origin).replace(' ', ',')})",
        ]
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES.get(dtype.name, dtype.name)}",
        "dimension: 3",
        f"sizes: {_sides(shape)}",
        *spaced,
        "kinds: domain domain domain",
        f"endian: {'big' if _IS_BIG else 'little'}",
        "encoding: raw",
        NRRD_MARK,
        "",
    ]
    _write(location, lines, slabs)


def _write(location: Location, lines: list[str], slabs: Slabs) -> None:
    with location.open_writing() as file:
        file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        for slab in slabs:
            file.write(np.ascontiguousarray(slab).data)


def _sides(shape: Shape) -> str:
    return " ".join(str(side) for side in reversed(shape))


def _lengths(spacing: Spacing) -> str:
    return " ".join(_exact(side) for side in reversed(spacing))


def _exact(length: float) -> str:
    """The shortest text that is read as the same number."""
    return repr(float(length))
