"""NRRD volumes (.nrrd, .nhdr), of Teem, 3D Slicer and others: a header of text, and voxels behind or beside it.

The header is read here: pynrrd's reader knows no lists of slices and looks for the end of a header in the whole file.
Directions are not applied; their lengths are the spacing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat import AT_END, FlatLayout, Packing
from ps3d_core.scan.flat_volume import FlatVolume, beside, listed, numbered
from ps3d_core.scan.header_text import LONGEST, FlatHeader, HeaderFields, fields_of, head_of, names_behind, number
from ps3d_core.scan.reader import scan_shape
from ps3d_core.scan.spacing import SAME
from ps3d_core.scan.stated_spacing import orientation_note, origin_in_mm, spacing_in_mm
from ps3d_core.scan.suffixes import NRRD_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_END: Final = re.compile(rb"\n\r?\n|\n *data ?file: *LIST[^\n]*\n", re.IGNORECASE)
_VECTOR: Final = re.compile(r"none|\([^()]*\)")
_QUOTED: Final = re.compile(r'"([^"]*)"')
_LINE: Final = re.compile(r"(?P<field>[^:]*):(?P<is_pair>=?)(?P<value>.*)")
_TYPES: Final = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("signed long long int",), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_PACKINGS: Final[dict[str, Packing | None]] = {
    "raw": None,
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}
_KINDS: Final = frozenset({"domain", "space", "none", "???"})
"""Kinds of an axis along which a volume extends; of any other an axis holds several values of one voxel, or of time."""


class NrrdVolume(FlatVolume):
    """A 3-D NRRD, one grey value per voxel."""

    suffixes = NRRD_SUFFIXES

    def __init__(self, location: Location) -> None:
        header = _read(location)
        fields = header.fields
        axes = _axes(fields)
        sides = fields.integers("sizes")
        shape = scan_shape(tuple(sides[axis] for axis in reversed(axes)), fields.file)
        files = _files(location, header, shape[0])
        start = 0 if files[0] != location else header.end
        spacing, turned = _spacing(fields, axes)
        super().__init__(
            files,
            _layout(fields, shape, files[0], start),
            location,
            spacing=spacing,
            origin=_origin(fields, axes, spacing[0], turned),
            notes=(turned, _quantised(fields)),
        )
        self.description = f"NRRD file {location.name} of {self.shape[0]} slices"


def _read(location: Location) -> FlatHeader:
    name = str(location)
    with open_to_read(location) as file:
        if not re.fullmatch(rb"NRRD000[1-5]", file.read(8)):
            raise InputError(f"{name}: not an NRRD file of version 1 to 5; restore it or convert the scan again")
        file.seek(0)
        text, end = head_of(file, _END, name)
        fields = fields_of(_pairs(text.splitlines()[1:], name), name)
        names = names_behind(file, end) if _data_file(fields)[:1] == ["LIST"] else ()
    return FlatHeader(fields, names, end)


def _pairs(lines: list[str], name: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if (match := _LINE.fullmatch(line)) is None:
            raise InputError(f"{name}: not an NRRD header (line {line[:40]!r}); restore it or convert the scan again")
        if not match["is_pair"]:  # the others are for people
            yield match["field"].replace(" ", "").lower(), match["value"].strip()


def _data_file(fields: HeaderFields) -> list[str]:
    return (fields.get("datafile") or "").split()


def _axes(fields: HeaderFields) -> list[int]:
    """Return the axes of the volume, the fastest first."""
    sides = fields.integers("sizes")
    if len(sides) != fields.integer("dimension"):
        raise fields.wrong("sizes", f"{fields.text('dimension')} numbers, as its dimension says")
    kinds = (fields.get("kinds") or " ".join(["none"] * len(sides))).lower().split()
    if len(kinds) != len(sides):
        raise fields.wrong("kinds", "one for each axis")
    axes = []
    for axis, (side, kind) in enumerate(zip(sides, kinds, strict=True)):
        if kind in _KINDS:
            axes.append(axis)
        elif side != 1:
            raise InputError(
                f"{fields.file}: an axis of {side} values of kind {kind}; must be one volume of 1 grey value per "
                "voxel; convert to greyscale, or save one of them"
            )
    while len(axes) > 3 and sides[axes[-1]] == 1:
        axes.pop()
    return axes


def _files(location: Location, header: FlatHeader, slices: int) -> list[Location]:
    words = _data_file(header.fields)
    if not words:
        return [location]
    if words[0] == "LIST":
        _check_slices(header.fields, words[1:])
        return listed(location, header.names)
    if "%" not in words[0]:
        return [beside(location, header.fields.text("datafile"))]
    numbers, rest = words[1:4], words[4:]
    _check_slices(header.fields, rest)
    if len(numbers) != 3 or not all(re.fullmatch(r"-?\d{1,9}", word) for word in numbers) or numbers[2] == "0":
        raise header.fields.wrong("datafile", "a pattern, first and last number, and step")
    first, last, step = map(int, numbers)
    found = range(first, last + (1 if step > 0 else -1), step)
    if not found or slices % len(found):
        raise InputError(f"{header.fields.file}: {len(found)} data files for {slices} slices; correct its data file")
    return numbered(location, words[0], found)


def _check_slices(fields: HeaderFields, words: list[str]) -> None:
    if words not in ([], ["2"], ["3"]):
        raise fields.wrong("datafile", "files of whole slices, of 2 or 3 dimensions")


def _layout(fields: HeaderFields, shape: Shape, file: Location, start: int) -> FlatLayout:
    kind, encoding = fields.text("type").lower(), fields.text("encoding").lower()
    if kind not in _TYPES:
        raise fields.wrong("type", "that of a number")
    if encoding not in _PACKINGS:
        raise InputError(
            f"{fields.file}: encoding {encoding[:20]}; must be raw, gzip or bzip2; save it again with one of these"
        )
    order = (fields.get("endian") or "").lower()
    stored: np.dtype[Any] = np.dtype(_TYPES[kind])
    if stored.itemsize > 1 and order not in ("little", "big"):
        raise InputError(f"{fields.file}: endian {order!r}; must be little or big; restore the header or correct it")
    stored = stored.newbyteorder(">" if order == "big" else "<")
    packing = _PACKINGS[encoding]
    skipped, lines = (fields.integer(name, default=0) for name in ("byteskip", "lineskip"))
    if skipped < -1 or lines < 0 or (skipped == -1 and packing):
        raise InputError(f"{fields.file}: byte skip {skipped}, line skip {lines}; correct the header")
    if lines:
        start = _behind_lines(file, start, lines)
    if packing:
        return FlatLayout(shape, stored, skipped, packing, start)
    return FlatLayout(shape, stored, AT_END if skipped == -1 else start + skipped)


def _behind_lines(location: Location, start: int, lines: int) -> int:
    with open_to_read(location) as file:
        file.seek(start)
        for _ in range(lines):
            if not _ends_line(file):
                raise InputError(f"{location}: has no {lines} lines before its voxels; correct line skip in the header")
            if file.tell() - start > LONGEST:
                raise InputError(f"{location}: {lines} lines before its voxels are no text; correct its line skip")
        return file.tell()


def _ends_line(file: BinaryIO) -> bool:
    return file.readline(LONGEST).endswith(b"\n")


def _spacing(fields: HeaderFields, axes: list[int]) -> tuple[tuple[Spacing | None, str | None], str | None]:
    """Return the spacing in mm, or why it is doubted; and a note about turned axes."""
    columns = _directions(fields, axes)
    lengths = fields.numbers("spacings")
    if lengths is not None:
        lengths = tuple(abs(length) for axis, length in enumerate(lengths) if axis in axes)
    if columns is None:
        units = _QUOTED.findall(fields.get("units") or "")
        units = [unit for axis, unit in enumerate(units) if axis in axes]
        return spacing_in_mm(lengths, units if any(units) else None), None
    sides = tuple(_length(column) for column in columns.T)
    spacing, turned = _directed(fields, columns, sides), orientation_note(columns)
    if lengths is not None and not np.allclose(sides, lengths, rtol=SAME, atol=0):
        spacing = None, f"its spacings {lengths} and the lengths of its directions {sides} (x, y, z) differ"
    return spacing, turned


def _directed(
    fields: HeaderFields, columns: npt.NDArray[np.float64], sides: tuple[float, ...]
) -> tuple[Spacing | None, str | None]:
    """Return the spacing in mm by directions of axes, whose units are those of the room, not of the axes."""
    units = _QUOTED.findall(fields.get("spaceunits") or "")
    if not units and (others := sorted({*_QUOTED.findall(fields.get("units") or "")} - {"", "mm"})):
        return None, f"its spacing is not used: units {', '.join(others)[:60]} of axes, and directions without units"
    if len(set(units)) < 2:
        return spacing_in_mm(sides, units[0] if units else None)
    of_axes = [{unit for unit, part in zip(units, column, strict=False) if part} for column in columns.T]
    if len(units) != len(columns) or any(len(its) != 1 for its in of_axes):
        return None, f"its spacing is not used: directions along axes in several units ({', '.join(units)[:60]})"
    return spacing_in_mm(sides, [its.pop() for its in of_axes])


def _origin(fields: HeaderFields, axes: list[int], spacing: Spacing | None, turned: str | None) -> Spacing:
    """Return where the first voxel lies (z, y, x), mm; nowhere without directions, as there is no space then."""
    columns = _directions(fields, axes)
    words = (fields.get("spaceorigin") or "").strip("() ").split(",")
    try:
        place = [number(word) for word in words]
    except ValueError:
        return 0.0, 0.0, 0.0
    lengths = None if columns is None else [_length(column) for column in columns.T]
    return origin_in_mm(place, lengths, spacing, turned)


def _length(column: npt.NDArray[np.float64]) -> float:
    along = column[column != 0]
    return abs(float(along[0])) if len(along) == 1 else float(f"{np.linalg.norm(column):.12g}")


def _directions(fields: HeaderFields, axes: list[int]) -> npt.NDArray[np.float64] | None:
    """Return the directions of the axes as columns; None where they are not all said."""
    vectors = _VECTOR.findall(fields.get("spacedirections") or "")
    wanted = [vectors[axis] for axis in axes if axis < len(vectors)]
    if len(wanted) != 3 or "none" in wanted:
        return None
    try:
        columns = [[number(word) for word in vector.strip("()").split(",")] for vector in wanted]
    except ValueError as error:
        raise fields.wrong("spacedirections", "vectors of numbers") from error
    if any(len(column) != 3 for column in columns):
        return None
    return np.array(columns).T


def _quantised(fields: HeaderFields) -> str | None:
    least, most = fields.get("oldmin"), fields.get("oldmax")
    if least is None or most is None:
        return None
    return f"its values stand for others from {least} to {most} (old min, old max): taken as stored"
