"""Headers that scanners and programs write beside a file of nothing but voxels.

.vgi    VolumeGraphics, and what most scanners' software exports for it
.pcr    datos|x of GE phoenix; the voxel size may be in its .pca, which is of the projections
.info   PyHST of the ESRF
.dat    the volume library of Erlangen
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, Literal

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.header_text import HeaderFields, fields_of, text_of
from ps3d_core.scan.reader import scan_shape
from ps3d_core.scan.stated_spacing import orientation_note, spacing_in_mm
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_ASSIGNS: Final = re.compile(r"[=:]")
_GROUP: Final = re.compile(r"\s*[\[{]([^\]}]*)[\]}]\s*")
_BITS: Final = {
    ("unsigned integer", "8"): "u1",
    ("unsigned integer", "16"): "u2",
    ("unsigned integer", "32"): "u4",
    ("integer", "8"): "i1",
    ("integer", "16"): "i2",
    ("integer", "32"): "i4",
    ("signed integer", "8"): "i1",
    ("signed integer", "16"): "i2",
    ("signed integer", "32"): "i4",
    ("float", "32"): "f4",
    ("float", "64"): "f8",
}
_PHOENIX_TYPES: Final = {"1": "u1", "5": "u2", "10": "f4"}
_DAT_TYPES: Final = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
_NAMES: Final = frozenset(
    (
        *("size", "datatype", "bitsperelement", "skipheader", "fileformat", "name", "resolution", "unit", "rotate"),
        *("volume_sizex", "volume_sizey", "volume_sizez", "format", "voxelsizerec", "vol_file"),
        *("voxelsizex", "voxelsizey", "num_x", "num_y", "num_z", "voxelsize", "byteorder"),
        *("objectfilename", "slicethickness"),
    )
)
"""What is heeded of headers, in lower case. What else they say differs in case only, in some."""
_OF_SIZE: Final = {1: "u1", 2: "u2", 4: "f4"}
"""Types of PyHST's files, whose headers do not say them: float32, or what they were converted to."""


@dataclass(frozen=True, slots=True)
class RawHeader:
    """What a header says of the voxels beside it.

    Attributes:
        file: name of the header.
        shape: (z, y, x); None when it says only the spacing.
        kind: type of a voxel, like "u2"; None when only the size of the file tells it.
        order: byte order, as NumPy writes it.
        start: first byte of the voxels.
        data: name of their file; None when it is called like the header.
        spacing: mm (z, y, x), where that is beyond doubt.
        doubt: why it is not believed.
        notes: what a person should hear.

    """

    file: Location
    shape: Shape | None
    kind: str | None
    order: Literal["<", ">"] = "<"
    start: int = 0
    data: str | None = None
    spacing: Spacing | None = None
    doubt: str | None = None
    notes: tuple[str, ...] = ()

    def stored(self, size: int) -> np.dtype[Any]:
        """Return the dtype of a voxel in a file of `size` bytes. Raise `InputError` when nothing tells it."""
        voxels = prod(self.shape) if self.shape else 0
        each, left = divmod(size - self.start, voxels) if voxels else (0, 0)
        kind = self.kind or (None if left else _OF_SIZE.get(each))
        if kind is None:
            raise InputError(
                f"{self.file}: {self.shape} voxels are not {size} bytes as uint8, uint16 or float32; restore the file, "
                "or the header that belongs to it"
            )
        return np.dtype(kind).newbyteorder(self.order)


def read_raw_header(location: Location) -> RawHeader:
    """Read a header, which its suffix tells the kind of. Raise `InputError` that names what is wrong with it."""
    suffix = "." + location.name.lower().rpartition(".")[2]
    pairs = list(_grouped(text_of(location)))
    header = _READERS[suffix](pairs, location)
    # Names come from another computer, with its folders; the file lies beside its header all the same.
    return replace(header, data=(header.data or "").replace("\\", "/").rpartition("/")[2] or None)


_Pairs = list[tuple[str, str, str]]
"""Group, name in lower case, and value of all that a header says."""


def _grouped(text: str) -> Iterator[tuple[str, str, str]]:
    group = ""
    for line in text.splitlines():
        if match := _GROUP.fullmatch(line):
            group = match[1].strip().lower()
        elif match := _ASSIGNS.search(line):
            name = line[: match.start()].strip().lower()
            if name in _NAMES:
                yield group, name, line[match.end() :].strip()


def _in_group(pairs: _Pairs, group: str | None, file: Location) -> HeaderFields:
    return fields_of(((name, value) for its, name, value in pairs if group in (None, its)), str(file))


def _vgi(pairs: _Pairs, file: Location) -> RawHeader:
    groups = {group for group, _, _ in pairs}
    if "file2" in groups:
        raise InputError(f"{file}: a volume in several files; export it as one file")
    data, shown = (_in_group(pairs, group, file) for group in ("file1", "representation"))
    geometry = _in_group(pairs, "geometry", file)
    if (data.get("fileformat") or "raw").lower() != "raw":
        raise InputError(f"{file}: voxels as {data.get('fileformat')!r}; export them as raw")
    both = HeaderFields(str(file), {**shown.values, **data.values})
    kind = (both.text("datatype").lower(), both.text("bitsperelement"))
    if kind not in _BITS:
        raise InputError(f"{file}: voxels of type {' '.join(kind)}; must be integers or floats; export them so")
    notes: list[str | None] = []
    if shown.get("size") and data.get("size") and shown.integers("size") != data.integers("size"):
        notes.append(f"its header shows a part of {shown.text('size')} voxels; all that the file holds is read")
    turned = geometry.numbers("rotate")
    if turned is not None:
        notes.append(_orientation(turned))
    spacing, doubt = spacing_in_mm(geometry.numbers("resolution"), geometry.get("unit"))
    return RawHeader(
        file,
        _shape(both.integers("size"), file),
        _BITS[kind],
        "<",
        _start(both.integer("skipheader", default=0), file),
        both.text("name"),
        spacing,
        doubt,
        tuple(note for note in notes if note),
    )


def _orientation(values: tuple[float, ...]) -> str | None:
    if len(values) != 9:
        return "its orientation is no rotation and is not applied"
    return orientation_note(np.reshape(values, (3, 3)))


def _pcr(pairs: _Pairs, file: Location) -> RawHeader:
    volume = _in_group(pairs, "volumedata", file)
    edge = volume.numbers("voxelsizerec")
    spacing, doubt = spacing_in_mm(edge and edge * 3, "mm")
    if (code := volume.text("format")) not in _PHOENIX_TYPES:
        raise InputError(f"{file}: Format {code} of voxels is not known; export the volume for VolumeGraphics (.vgi)")
    sides = tuple(volume.integer(f"volume_size{axis}") for axis in "xyz")
    kind = _PHOENIX_TYPES[code]
    return RawHeader(file, _shape(sides, file), kind, "<", 0, volume.get("vol_file"), spacing, doubt)


def _pca(pairs: _Pairs, file: Location) -> RawHeader:
    geometry = _in_group(pairs, "geometry", file)
    edges = geometry.numbers("voxelsizex"), geometry.numbers("voxelsizey")
    x, y = (edge[0] if edge else None for edge in edges)
    spacing, doubt = spacing_in_mm(None if x is None else (x, y or x, x), "mm")
    return RawHeader(file, None, None, "<", 0, None, spacing, doubt)


def _info(pairs: _Pairs, file: Location) -> RawHeader:
    fields = _in_group(pairs, None, file)
    sides = tuple(fields.integer(f"num_{axis}") for axis in "xyz")
    edge = fields.numbers("voxelsize")
    spacing, doubt = spacing_in_mm(edge and edge * 3, "um")
    order = (fields.get("byteorder") or "").upper()
    if order not in ("LOWBYTEFIRST", "HIGHBYTEFIRST"):
        raise InputError(f"{file}: BYTEORDER {order!r}; must be LOWBYTEFIRST or HIGHBYTEFIRST; write it into the file")
    its: Literal["<", ">"] = "<" if order == "LOWBYTEFIRST" else ">"
    return RawHeader(file, _shape(sides, file), None, its, 0, None, spacing, doubt)


def _dat(pairs: _Pairs, file: Location) -> RawHeader:
    fields = _in_group(pairs, None, file)
    if (kind := fields.text("format").upper()) not in _DAT_TYPES:
        raise InputError(f"{file}: Format {kind}; must be one grey value per voxel ({', '.join(_DAT_TYPES)})")
    thickness = fields.numbers("slicethickness")
    doubt = None
    if thickness and any(length != 1 for length in thickness):
        lengths = ", ".join(f"{length:g}" for length in reversed(thickness))
        doubt = f"its SliceThickness {lengths} (z, y, x) is not used: the format has no unit"
    shape = _shape(fields.integers("resolution"), file)
    return RawHeader(file, shape, _DAT_TYPES[kind], "<", 0, fields.text("objectfilename"), None, doubt)


def _shape(sides: tuple[int, ...], file: Location) -> Shape:
    return scan_shape(sides[::-1], str(file))


def _start(start: int, file: Location) -> int:
    if start < 0:
        raise InputError(f"{file}: voxels begin at byte {start}; must be 0 or more; correct it")
    return start


_READERS: Final[dict[str, Callable[[_Pairs, Location], RawHeader]]] = {
    ".vgi": _vgi,
    ".pcr": _pcr,
    ".pca": _pca,
    ".info": _info,
    ".dat": _dat,
}
