"""JPEG 2000: what a codestream says of its picture before it is unpacked, and a slice as such a file.

The size is read from the codestream itself, since it decides what the decoder allocates. Values of fewer than 8 or 16
bits are not stretched. JPEG 2000 may change values (its irreversible wavelet, or layers left out); the wavelet is what
a header tells, so that is said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import size_of
from ps3d_core.scan.slice_format import RGB, OpenSlice, PictureKind, SliceFormat, check_packed_size, grey_of_rgb

_START: Final = b"\xff\x4f\xff\x51"  # of a codestream: SOC and SIZ
_FILE: Final = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_COD, _SOT, _SOD = 0xFF52, 0xFF90, 0xFF93
_MOST_BOXES: Final = 1000
_MOST_RATIO: Final = 1000
_MOST_TILES: Final = 2**14  # a decoder sets up all of them at once
_SIZ: Final = ">2xHHIIIIIIIIH"
"""From the marker SIZ on: its length, capabilities, and twice the right and lower edges and offsets, components."""


class _Jpeg2000Slice(OpenSlice):
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self.kind: PictureKind = codestream_kind(file, _codestream(file, name), name)

    def decode(self) -> npt.NDArray[Any]:
        self._file.seek(0)
        values = decoded(self._file.read(), self._name)
        if self.kind.stored == RGB and values.ndim == 3:
            values = grey_of_rgb(values, self._name)
        if values.shape != self.kind.shape or values.dtype != self.kind.dtype:
            raise InputError(f"{self._name}: damaged JPEG 2000; restore the file or export it again")
        return values


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[OpenSlice]:
    yield _Jpeg2000Slice(file, name)


def decoded(data: bytes, name: str) -> npt.NDArray[Any]:
    """Return the values of a file or codestream; raise `InputError` when it is damaged."""
    import imagecodecs

    try:
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    except (imagecodecs.Jpeg2kError, ValueError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name}: damaged JPEG 2000 ({error}); restore the file or export it again") from error


def codestream_kind(file: BinaryIO, start: int, name: str) -> PictureKind:
    """Return what the codestream that begins at byte `start` holds.

    Raise `InputError` for anything but a whole picture of one grey value per pixel, or three equal ones.
    """
    file.seek(start)
    head = file.read(2 + struct.calcsize(_SIZ))
    if len(head) < 2 + struct.calcsize(_SIZ) or not head.startswith(_START):
        raise InputError(f"{name}: truncated or not a JPEG 2000; restore the file or export it again")
    length, _, right, low, left, top, width, height, _, _, components = struct.unpack(_SIZ, head[2:])
    parts = file.read(3 * components)
    if components not in (1, 3) or len(parts) < 3 * components or length != 38 + 3 * components:
        raise InputError(f"{name}: {components} values per pixel; must be 1 grey value; convert to greyscale")
    if len({parts[at : at + 3] for at in range(0, len(parts), 3)}) > 1 or parts[1:3] != b"\x01\x01":
        raise InputError(f"{name}: channels of several kinds; must be 1 grey value per pixel; convert to greyscale")
    bits, is_signed = (parts[0] & 0x7F) + 1, bool(parts[0] & 0x80)
    if bits > 16:
        raise InputError(f"{name}: values of {bits} bits; must be 8 to 16 bits; export as such")
    shape = (low - top, right - left)
    if not (width and height) or (low / height + 1) * (right / width + 1) > _MOST_TILES:
        raise InputError(f"{name}: tiles of {height} x {width} pixels; damaged? restore the file or export it again")
    dtype = np.dtype(f"{'i' if is_signed else 'u'}{1 if bits <= 8 else 2}")
    check_packed_size(shape, components * dtype.itemsize, size_of(file) - start, _MOST_RATIO, name)
    return PictureKind(shape, dtype, RGB if components == 3 else None, _is_lossy(file, name))


def _is_lossy(file: BinaryIO, name: str) -> bool:
    """Whether the wavelet is the irreversible one; the file stands behind SIZ."""
    while len(head := file.read(4)) == 4:
        marker, length = struct.unpack(">HH", head)
        if marker in (_SOT, _SOD) or marker < 0xFF00 or length < 2:
            break
        segment = file.read(length - 2)
        if marker == _COD and len(segment) >= 10:
            return segment[9] == 0
    raise InputError(f"{name}: truncated or damaged JPEG 2000; restore the file or export it again")


def _codestream(file: BinaryIO, name: str) -> int:
    """Return the first byte of the codestream: of the file, or of what it lies in."""
    file.seek(0)
    head, size = file.read(len(_FILE)), size_of(file)
    if head.startswith(_START):
        return 0
    at = 0 if head == _FILE else size
    for _ in range(_MOST_BOXES):
        file.seek(at)
        box = file.read(16)
        if at >= size or len(box) < 16:
            break
        length, kind, extended = struct.unpack(">I4sQ", box)
        header = 16 if length == 1 else 8
        length = extended if length == 1 else length or size - at
        if length < header or at + length > size:
            break
        if kind == b"jp2c":
            return at + header
        if kind == b"jp2h" and b"pclr" in _content(file, at + header, length - header):
            raise InputError(f"{name}: a colour table; must be 1 grey value per pixel; export as greyscale")
        at += length
    raise InputError(f"{name}: truncated or not a JPEG 2000; restore the file or export it again")


def _content(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(min(length, 2**16))


JPEG_2000: Final = SliceFormat("JPEG 2000", (".jp2", ".j2k", ".jpx"), _opened)
