"""AmiraMesh files (.am) of Amira and Avizo: one field on a regular lattice, behind a header in text.

Voxels are binary in either byte order, text, or packed: with zlib (HxZip), or as runs of bytes (HxByteRLE), which are
labels. The bounding box goes from the centre of the first voxel to that of the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.amira_streams import from_text, part_of, unrolled
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.flat import FlatLayout, FlatVoxels
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.suffixes import AMIRA_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_FIRST: Final = re.compile(rb"#\s*(?:AmiraMesh|Avizo)\b([^\n]*)")
_DATA: Final = re.compile(rb"(?:^|\n)@(\d+)[ \t]*\r?\n")
_LONGEST_HEADER: Final = 2**20
_TYPES: Final = {
    "byte": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "double": "f8",
}
_LATTICE: Final = re.compile(r"^\s*define\s+Lattice\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s*$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^\s*Lattice\s*\{\s*(\w+)\s*(\[\s*\d+\s*\])?\s+(\w+)\s*\}\s*(?:=\s*)?@(\d+)\s*(?:\(\s*(\w+)\s*,\s*(\d{1,15})\s*\))?\s*$",
    re.MULTILINE,
)
_BOX: Final = re.compile(r"^\s*BoundingBox\s+([^\n\"{}]*?),?\s*$", re.MULTILINE)
_COORDINATES: Final = re.compile(r"^\s*CoordType\s+\"([^\"\n]*)\"", re.MULTILINE)
_UNITS: Final = re.compile(r"^\s*Coordinates\s+\"([^\"\n]*)\"", re.MULTILINE)
_MM: Final = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
_NUMBER: Final = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d{1,3})?")
_RUN: Final = 127
"""Bytes that two packed ones can stand for."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says, and where its data begin.

    Attributes:
        text: all of it.
        order: of bytes, "<" or ">"; None where voxels are text.
        start: returns the first byte of the data section with a number; raises `InputError` when it is not the first.

    """

    text: str
    order: Literal["<", ">"] | None
    start: Callable[[int], int]


class AmiraVolume(ScanReader):
    """The one field on the lattice of an AmiraMesh file."""

    suffixes = AMIRA_SUFFIXES

    def __init__(self, location: Location) -> None:
        self._name = str(location)
        self._file = open_to_read(location)
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise
        self.description = f"AmiraMesh file {location.name} of {self.shape[0]} slices"

    def _open(self) -> None:
        header = _header(self._file, self._name)
        x, y, z = _lattice(header.text, self._name)
        self.shape = scan_shape((z, y, x), self._name)
        kind, number, packing, length = _field(header.text, self._name)
        stored = np.dtype(kind).newbyteorder(header.order or "<")
        self.dtype = scan_dtype(stored, self._name)
        self.is_label = packing == "HxByteRLE" or _is_labels(header.text)
        self.spacing, self.spacing_doubt = _spacing(header.text, (x, y, z))
        _check_coordinates(header.text, self._name)
        self.notes = (self.spacing_doubt,) if self.spacing_doubt else ()
        self._voxels = _voxels(self._file, self._name, self.shape, stored, header, (number, packing, length))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        return self._voxels.read(start, stop)

    def close(self) -> None:  # noqa: D102
        self._voxels.close()
        self._file.close()


def _header(file: BinaryIO, name: str) -> _Header:
    block = file.read(_LONGEST_HEADER)
    first = _FIRST.match(block)
    if first is None:
        raise InputError(f"{name}: not an AmiraMesh file; restore it or convert the scan")
    data = _DATA.search(block)
    if data is None:
        raise InputError(f"{name}: truncated or damaged, no data section (@1) in its first MiB; restore the file")
    words = first[1].decode("ascii", "replace").upper().split()
    if "BINARY-LITTLE-ENDIAN" in words:
        order: Literal["<", ">"] | None = "<"
    elif "BINARY" in words:
        order = ">"
    elif "ASCII" in words:
        order = None
    else:
        raise InputError(f"{name}: neither binary nor text by its first line; restore it or convert the scan")

    def start(number: int) -> int:
        if int(data[1]) != number:
            raise InputError(f"{name}: its voxels, @{number}, are not its first data; save the field alone")
        return data.end()

    text = _decoded(block[: data.start() + 1])
    # A comment ends with its line; one of them, "# Data section follows", stands before the data. Without runs of
    # blanks, which a header may have a million of, no expression takes longer than the header is long.
    lines = (" ".join(line.partition("#")[0].split()) for line in text.splitlines())
    return _Header("\n".join(filter(None, lines)), order, start)


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:  # older versions write the alphabet of their computer
        return text.decode("latin-1")


def _lattice(text: str, name: str) -> tuple[int, int, int]:
    found = _LATTICE.findall(text)
    if len(found) != 1:
        raise InputError(f"{name}: {len(found)} lattices with three sides; must be one; export the volume alone")
    x, y, z = map(int, found[0])
    return x, y, z


def _field(text: str, name: str) -> tuple[str, int, str | None, int]:
    """Type, number of the data section, packing and packed bytes of the field on the lattice."""
    found = _FIELD.findall(text)
    if len(found) != 1:
        raise InputError(f"{name}: {len(found)} fields on its lattice; must be one grey value per voxel; save it alone")
    kind, several, _, number, packing, length = found[0]
    if several:
        raise InputError(f"{name}: {kind}{several.replace(' ', '')} per voxel; must be 1 grey value; save one of them")
    if kind not in _TYPES:
        raise InputError(f"{name}: voxels of type {kind[:40]}; must be one of {', '.join(_TYPES)}; convert the scan")
    if packing not in ("", "HxZip", "HxByteRLE"):
        raise InputError(f"{name}: packed with {packing[:40]}, which is not read; save it without compression")
    return _TYPES[kind], int(number), packing or None, int(length or 0)


def _check_coordinates(text: str, name: str) -> None:
    found = set(_COORDINATES.findall(text))
    if found - {"uniform"}:
        raise InputError(
            f"{name}: {' and '.join(sorted(found))} coordinates; must be uniform, voxels of one size; resample it there"
        )


def _is_labels(text: str) -> bool:
    return re.search(r"^\s*Materials\s*\{", text, re.MULTILINE) is not None


def _spacing(text: str, sides: tuple[int, int, int]) -> tuple[Spacing | None, str | None]:
    """Spacing (z, y, x) in mm where it is beyond doubt, and else why what is stated is not believed."""
    boxes, units = _BOX.findall(text), _UNITS.findall(text)
    if not boxes:
        return None, None
    try:
        edges = _edges(boxes, sides)
    except ValueError as error:
        return None, f"its bounding box {' '.join(boxes[0].split())[:100]} is not used: {error}"
    factor = _MM.get(units[0].strip().lower()) if len(units) == 1 else None
    z, y, x = (float(f"{edge:.7g}") for edge in reversed(edges))
    if factor is not None:
        return (z * factor, y * factor, x * factor), None
    if z == y == x == 1:
        return None, None  # what programs write that know nothing
    unit = f"unit {units[0][:20]!r} is none of length" if units else "it says no unit"
    return None, f"its spacing {z:g}, {y:g}, {x:g} (z, y, x) is not used: {unit}"


def _edges(boxes: list[str], sides: tuple[int, int, int]) -> list[float]:
    """Edges of a voxel (x, y, z) in the unit of a box. Raise `ValueError` where it says none."""
    ends = [float(word) for word in boxes[0].split() if _NUMBER.fullmatch(word)]
    if len(boxes) > 1 or len(ends) != 6 or len(boxes[0].split()) != 6:
        raise ValueError("must be one, with six numbers")
    if 1 in sides:
        raise ValueError("an axis of one voxel has no length")
    edges = [(ends[2 * axis + 1] - ends[2 * axis]) / (sides[axis] - 1) for axis in range(3)]
    if not all(isfinite(edge) and edge > 0 for edge in edges):
        raise ValueError("must be longer than 0")
    return edges


def _voxels(
    file: BinaryIO,
    name: str,
    shape: Shape,
    stored: np.dtype[Any],
    header: _Header,
    field: tuple[int, str | None, int],
) -> FlatVoxels:
    number, packing, length = field
    start, end = header.start(number), size_of(file)
    voxels = prod(shape)
    if packing is None and header.order is not None:
        flat = FlatVoxels(file, FlatLayout(shape, stored, start, exact=False), name)
        _check_behind(file, start + voxels * stored.itemsize, name)
        return flat
    if packing is not None and start + length > end:
        raise InputError(f"{name}: truncated, {length} packed bytes from byte {start} on; restore the file")
    if packing == "HxZip":
        packed = part_of(file, start + length)
        return FlatVoxels(packed, FlatLayout(shape, stored, packing="zlib", packed_from=start), name)
    if packing == "HxByteRLE" and stored.itemsize != 1:
        raise InputError(f"{name}: runs of bytes of {stored.name} voxels, which is not read; save it uncompressed")
    room = length // 2 * _RUN if packing else (end - start + 1) // 2
    if room < voxels:
        raise InputError(f"{name}: truncated, {end} bytes do not hold {shape} {stored.name} voxels; restore the file")
    stream = unrolled(file, start, start + length, voxels) if packing else from_text(file, start, end, stored, voxels)
    return FlatVoxels(stream, FlatLayout(shape, stored), name)


def _check_behind(file: BinaryIO, end: int, name: str) -> None:
    """Raise `InputError` when something else than other data follows the voxels."""
    file.seek(end)
    behind = file.read(16).strip()
    if behind and not behind.startswith(b"@"):
        raise InputError(f"{name}: more bytes than its voxels; the header is not that of this file; restore it")
