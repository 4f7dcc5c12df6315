"""A slice as a PNG file: 8 or 16 bits of grey, or grey stored as colours.

Files are walked chunk by chunk before anything is unpacked, so a truncated one is found without decoding it. Grey of
fewer bits is not read: decoders stretch it to 8 bits, and then it is not what was stored.
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

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS: Final = 10**6
_MOST_RATIO: Final = 1032  # of deflate
_GREY, _RGB, _PALETTE = 0, 2, 3
_NAMES: Final = {4: "grey with transparency", 6: "colours with transparency"}


class _PngSlice(OpenSlice):
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self.kind: PictureKind = _kind(file, name)

    def decode(self) -> npt.NDArray[Any]:
        import imagecodecs

        self._file.seek(0)
        try:
            values = np.asarray(imagecodecs.png_decode(self._file.read()))
        except (imagecodecs.PngError, ValueError, RuntimeError) as error:
            raise InputError(f"{self._name}: damaged PNG ({error}); restore the file or export it again") from error
        if values.ndim == 3:
            values = grey_of_rgb(values, self._name) if values.shape[2] >= 3 else values[..., 0]
        if values.shape != self.kind.shape or values.dtype != self.kind.dtype:
            raise InputError(f"{self._name}: damaged PNG; restore the file or export it again")
        return np.ascontiguousarray(values)


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[OpenSlice]:
    yield _PngSlice(file, name)


def _kind(file: BinaryIO, name: str) -> PictureKind:
    size = size_of(file)
    header, palette = _chunks(file, size, name)
    columns, rows, bits, colour = struct.unpack(">IIBB", header[:10])
    if colour in _NAMES:
        raise InputError(f"{name}: {_NAMES[colour]}; must be 1 grey value per pixel; export as greyscale")
    if colour not in (_GREY, _RGB, _PALETTE) or (bits not in (8, 16)):
        raise InputError(f"{name}: {bits} bits per value; must be 8 or 16 bits of grey; export as such")
    if colour == _PALETTE and not _is_grey_ramp(palette):
        raise InputError(f"{name}: a colour table that is not 0 black to 255 white; export as greyscale")
    check_packed_size((rows, columns), (3 if colour == _RGB else 1) * bits // 8, size, _MOST_RATIO, name)
    stored = {_GREY: None, _RGB: RGB, _PALETTE: "a table of greys"}[colour]
    return PictureKind((rows, columns), np.dtype(f"u{bits // 8}"), stored)


def _chunks(file: BinaryIO, size: int, name: str) -> tuple[bytes, bytes]:
    """Return the header and the colour table; raise `InputError` when the file does not hold all that it says."""
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise InputError(f"{name}: damaged or not a PNG; restore the file or export it again")
    kept = {b"IHDR": b"", b"PLTE": b""}
    for _ in range(_MOST_CHUNKS):
        start = file.read(8)
        length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
        if len(start) < 8 or file.tell() + length + 4 > size:
            raise InputError(f"{name}: truncated PNG of {size} bytes; restore the file or export it again")
        if kind == b"IEND":
            break
        if kind == b"acTL":
            raise InputError(f"{name}: several pictures in one PNG; must be 1; export the slices one by one")
        if kind in kept:
            kept[kind] = file.read(min(length, 1024))
        file.seek(length + 4 - (len(kept[kind]) if kind in kept else 0), 1)
    if len(kept[b"IHDR"]) != 13:
        raise InputError(f"{name}: damaged or not a PNG; restore the file or export it again")
    return kept[b"IHDR"], kept[b"PLTE"]


def _is_grey_ramp(palette: bytes) -> bool:
    return palette == b"".join(bytes((value,)) * 3 for value in range(len(palette) // 3))


PNG: Final = SliceFormat("PNG", (".png",), _opened)
