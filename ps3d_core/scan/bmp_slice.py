"""A slice as a BMP file, as many scanners write them: 8 bits with a table of greys, or grey stored as RGB.

Values are read as stored, so the colour table has to be that of greys, from 0 black to 255 white. Packed ones (RLE) are
not read. The voxels are plain rows of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import fill_from, size_of
from ps3d_core.scan.slice_format import RGB, OpenSlice, PictureKind, SliceFormat, check_packed_size, grey_of_rgb

_FILE_HEADER: Final = 14
_HEADERS: Final = (40, 52, 56, 64, 108, 124)
"""Sizes of the headers that begin like BITMAPINFOHEADER."""


@dataclass(frozen=True, slots=True)
class _Layout:
    kind: PictureKind
    start: int
    channels: int
    is_upside_down: bool

    @property
    def row_bytes(self) -> int:
        return -(-self.kind.shape[1] * self.channels // 4) * 4


class _BmpSlice(OpenSlice):
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._layout = _layout(file, name)
        self.kind: PictureKind = self._layout.kind

    def decode(self) -> npt.NDArray[Any]:
        (rows, columns), layout = self.kind.shape, self._layout
        stored = np.empty((rows, layout.row_bytes), np.uint8)
        self._file.seek(layout.start)
        if not fill_from(self._file, stored):
            raise InputError(f"{self._name}: ended while being read; is it still being written? try again later")
        values = stored[:: -1 if layout.is_upside_down else 1, : columns * layout.channels]
        if layout.channels == 3:
            return grey_of_rgb(values.reshape(rows, columns, 3), self._name)
        return np.ascontiguousarray(values)


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[OpenSlice]:
    yield _BmpSlice(file, name)


def _layout(file: BinaryIO, name: str) -> _Layout:
    file.seek(0)
    head, size = file.read(_FILE_HEADER + 40), size_of(file)
    if len(head) < _FILE_HEADER + 40 or head[:2] != b"BM":
        raise InputError(f"{name}: truncated or not a BMP; restore the file or export it again")
    start, header, columns, height, planes, bits, packing = struct.unpack("<IIiiHHI", head[10:34])
    if header not in _HEADERS or planes != 1:
        raise InputError(f"{name}: a BMP of an unknown kind (header of {header} bytes); export it as TIFF")
    if packing != 0:
        raise InputError(f"{name}: a packed BMP (kind {packing}); must not be packed; export it again, or as TIFF")
    if bits not in (8, 24):
        raise InputError(f"{name}: {bits} bits per pixel; must be 8 bits of grey; export as such")
    entries = struct.unpack("<I", head[46:50])[0] or 256
    if bits == 8 and not _is_grey_ramp(file, _FILE_HEADER + header, min(entries, 256)):
        raise InputError(f"{name}: a colour table that is not 0 black to 255 white; export as greyscale")
    shape, channels = (abs(height), columns), bits // 8
    check_packed_size(shape, channels, size, 1, name)
    kind = PictureKind(shape, np.dtype(np.uint8), RGB if channels == 3 else None)
    layout = _Layout(kind, start, channels, is_upside_down=height > 0)
    table = 4 * entries if bits == 8 else 0
    if start < _FILE_HEADER + header + table or start + shape[0] * layout.row_bytes > size:
        raise InputError(
            f"{name}: truncated, {size} bytes do not hold {kind} from byte {start} on; restore the file or export it "
            "again"
        )
    return layout


def _is_grey_ramp(file: BinaryIO, start: int, entries: int) -> bool:
    file.seek(start)
    table = np.frombuffer(file.read(4 * entries), np.uint8)
    if table.size != 4 * entries:
        return False
    return bool((table.reshape(entries, 4)[:, :3] == np.arange(entries)[:, None]).all())


BMP: Final = SliceFormat("BMP", (".bmp",), _opened)
