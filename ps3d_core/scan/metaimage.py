"""MetaImage volumes (.mha, .mhd), of ITK, 3D Slicer and others: a header of text, and voxels behind or beside it.

The format has no field for a unit that programs fill in; as ITK does, lengths are taken for millimetres, unless the
header says otherwise (`DistanceUnits`). The matrix of directions is not applied.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import Any, Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat import AT_END, FlatLayout
from ps3d_core.scan.flat_volume import FlatVolume, beside, listed, numbered, packing_at
from ps3d_core.scan.grey_scaling import GreyScaling, scaling_of
from ps3d_core.scan.header_text import FlatHeader, HeaderFields, fields_of, head_of, names_behind
from ps3d_core.scan.reader import scan_shape
from ps3d_core.scan.stated_spacing import orientation_note, origin_in_mm, spacing_in_mm
from ps3d_core.scan.suffixes import METAIMAGE_SUFFIXES
from ps3d_core.store.location import Location

_ORDER: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_TURN: Final = ("TransformMatrix", "Orientation", "Rotation")
_SCALE: Final = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
_LAST: Final = "ElementDataFile"
_KEYS: Final = {
    key.lower(): key
    for key in (
        *("ObjectType", "NDims", "DimSize", "BinaryData", "CompressedData", "HeaderSize", "DistanceUnits"),
        *("ElementSpacing", "ElementSize", "ElementType", "ElementNumberOfChannels", _LAST),
        *(*_ORDER, *_TURN, *_SCALE),
    )
}
"""Keys that are heeded: in any case, as some programs write them, since the byte order is among them."""
_END: Final = re.compile(rb"(?:\A|\n)ElementDataFile[ \t]*=[^\n]*\n", re.IGNORECASE)
TYPES: Final = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""What MetaIO calls the types of a voxel; its long has 32 bits wherever it is written."""


class MetaImageVolume(FlatVolume):
    """A 3-D MetaImage, one grey value per voxel."""

    suffixes = METAIMAGE_SUFFIXES

    def __init__(self, location: Location) -> None:
        header = _read(location)
        fields = header.fields
        shape = _shape(fields)
        files, start = _files(location, header, shape[0])
        unit = fields.get("DistanceUnits")
        lengths = fields.numbers("ElementSpacing", "ElementSize")
        layout = _layout(fields, shape, files[0], start)
        lengths, turned = lengths and lengths[:3], _turned(fields)
        spacing = spacing_in_mm(lengths, None if unit == "?" else unit)
        super().__init__(
            files,
            layout,
            location,
            spacing=spacing,
            origin=origin_in_mm(fields.numbers("Offset", "Position", "Origin"), lengths, spacing[0], turned),
            scaling=_scaling(fields),
            notes=(turned, _unsaid_order(fields, layout)),
        )
        self.description = f"MetaImage file {location.name} of {self.shape[0]} slices"


def _read(location: Location) -> FlatHeader:
    name = str(location)
    with open_to_read(location) as file:
        text, end = head_of(file, _END, name)
        lines = text.splitlines()
        fields = fields_of(filter(None, (_pair(line, name) for line in lines)), name)
        is_list = fields.text(_LAST).split()[0].upper() == "LIST"
        names = names_behind(file, end) if is_list else ()
    if fields.get("ObjectType") not in (None, "Image"):
        raise InputError(f"{name}: a MetaIO {fields.get('ObjectType')}, not an image; give the file of the image")
    return FlatHeader(fields, names, end)


def _pair(line: str, name: str) -> tuple[str, str] | None:
    key, separator, value = line.partition("=")
    if not line.strip():
        return None
    if not separator:
        raise InputError(f"{name}: not a MetaImage header (line {line[:40]!r}); restore it or convert the scan again")
    key = key.strip()
    return _KEYS.get(key.lower(), key), value.strip()


def _shape(fields: HeaderFields) -> Shape:
    if fields.integer("ElementNumberOfChannels", default=1) != 1 or "_ARRAY" in fields.text("ElementType"):
        channels = fields.get("ElementNumberOfChannels") or "several"
        raise InputError(
            f"{fields.file}: {channels} values per voxel (RGB or vectors); must be 1 grey value per voxel; convert to "
            "greyscale"
        )
    sides = fields.integers("DimSize")
    if len(sides) != fields.integer("NDims"):
        raise fields.wrong("DimSize", f"{fields.text('NDims')} numbers, as NDims says")
    while len(sides) > 3 and sides[-1] == 1:
        sides = sides[:-1]
    if len(sides) == 2:
        sides = (*sides, 1)
    return scan_shape(sides[::-1], fields.file)


def _files(location: Location, header: FlatHeader, slices: int) -> tuple[list[Location], int]:
    """Return the files of the voxels in their order, and where in each they begin, unless its own field says that."""
    value = header.fields.text(_LAST)
    first, *words = value.split()
    if first.upper() == "LOCAL" and not words:
        return [location], header.end
    if first.upper() == "LIST":
        if words not in ([], ["2"], ["3"]):
            raise header.fields.wrong(_LAST, "LIST, or LIST with the dimensions of a file, 2 or 3")
        return listed(location, header.names), 0
    if "%" in value:
        return numbered(location, first, _numbers(header.fields, words, slices)), 0
    return [beside(location, value)], 0


def _numbers(fields: HeaderFields, words: list[str], slices: int) -> range:
    if not all(word.isdecimal() and len(word) < 10 for word in words) or len(words) > 3:
        raise fields.wrong(_LAST, "a pattern and up to 3 whole numbers: first, last, step")
    first, last, step = (*map(int, words), *(1, 0, 1)[len(words) :])
    last = last if len(words) > 1 else first + slices - 1
    numbers = range(first, last + 1, max(1, step))
    if len(numbers) != slices:
        raise InputError(f"{fields.file}: {len(numbers)} files of one slice for {slices} slices; correct {_LAST}")
    return numbers


def _layout(fields: HeaderFields, shape: Shape, file: Location, start: int) -> FlatLayout:
    if not fields.flag("BinaryData", default=True):
        raise InputError(f"{fields.file}: voxels as text (BinaryData = False); save it again with binary voxels")
    kind = fields.text("ElementType")
    if kind not in TYPES:
        raise fields.wrong("ElementType", f"one of {', '.join(TYPES)}")
    is_big = fields.flag(*_ORDER)
    stored: np.dtype[Any] = np.dtype(TYPES[kind]).newbyteorder(">" if is_big else "<")
    skipped = fields.integer("HeaderSize", default=0)
    if skipped < -1:
        raise fields.wrong("HeaderSize", "-1 or the number of bytes before the voxels")
    is_packed = fields.flag("CompressedData")
    if skipped == -1 and is_packed:
        raise fields.wrong("HeaderSize", "known where voxels are compressed")
    start = skipped if skipped > 0 else AT_END if skipped == -1 else start
    if not is_packed:
        return FlatLayout(shape, stored, start)
    return FlatLayout(shape, stored, packing=packing_at(file, start), packed_from=start)


def _unsaid_order(fields: HeaderFields, layout: FlatLayout) -> str | None:
    if layout.stored.itemsize == 1 or fields.get(*_ORDER):
        return None
    return "its header does not say the byte order; little-endian is taken"


def _scaling(fields: HeaderFields) -> GreyScaling | None:
    slope, offset = ((fields.numbers(name) or (default,))[0] for name, default in zip(_SCALE, (1.0, 0.0), strict=True))
    return scaling_of(slope, offset, fields.file, " and ".join(_SCALE))


def _turned(fields: HeaderFields) -> str | None:
    values = fields.numbers(*_TURN)
    if values is None:
        return None
    side = isqrt(len(values))
    if side**2 != len(values) or side < 3:
        return "its orientation is no rotation and is not applied"
    return orientation_note(np.reshape(values, (side, side))[:3, :3].T)
