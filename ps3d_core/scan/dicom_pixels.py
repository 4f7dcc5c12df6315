"""The pixels of one frame of a DICOM file: as they are, or packed as RLE, JPEG-LS, JPEG 2000 or lossless JPEG.

A packed frame says its own size once more, and that is what a decoder allocates; it is compared with the header before.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.dicom_header import DicomHeader, DicomKind
from ps3d_core.scan.files import fill_from, size_of
from ps3d_core.scan.jpeg2000 import codestream_kind
from ps3d_core.scan.jpeg2000 import decoded as unpacked_jpeg2000

Fragments = Sequence[tuple[int, int]]
"""First byte and length of each piece of a packed frame."""

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_RLE: Final = "1.2.840.10008.1.2.5"
_JPEG: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_MAY_BE_LOSSY: Final = (_JPEG_LS[1], _JPEG_2000[1])
_FRAME_MARKERS: Final = {0xC3: "JPEG", 0xF7: "JPEG-LS"}


def packing_note(syntax: str | None) -> str | None:
    """Return what a person should hear of how pixels are packed. Raise nothing."""
    if syntax in _MAY_BE_LOSSY:
        return "its slices may have been packed with loss: grey values may differ a little from those of the scanner"
    return None


def frames_of(file: BinaryIO, header: DicomHeader) -> tuple[Fragments, ...]:
    """Return where the packed frames of a file lie; none where pixels are not packed.

    Raise `InputError` for a packing that is not read, and where the file does not hold them all.
    """
    if header.syntax is None:
        return ()
    if header.syntax not in (_RLE, *_JPEG, *_JPEG_LS, *_JPEG_2000):
        raise InputError(
            f"{header.name}: packed as {header.syntax[:40]}, which is not read (RLE, JPEG-LS, JPEG 2000 and lossless "
            "JPEG are); export the slices without compression"
        )
    table, *pieces = _pieces(file, header)
    count = len(header.places)
    if count == 1:
        return (pieces,)
    file.seek(table[0])
    offsets = struct.unpack(f"<{table[1] // 4}I", file.read(table[1] // 4 * 4))
    if len(offsets) == count:
        first = table[0] + table[1]
        starts = [first + 8 + offset for offset in offsets]
        bounds = [*starts, size_of(file)]
        return tuple([piece for piece in pieces if low <= piece[0] < high] for low, high in pairwise(bounds))
    if len(pieces) == count:
        return tuple([piece] for piece in pieces)
    raise InputError(
        f"{header.name}: {count} frames in {len(pieces)} pieces without a table of them; export the slices without "
        "compression"
    )


def _pieces(file: BinaryIO, header: DicomHeader) -> list[tuple[int, int]]:
    """First byte and length of the table of frames and of all pieces that follow it."""
    found, size = [], size_of(file)
    file.seek(header.start)
    while True:
        item = file.read(8)
        if item[:4] == _END:
            break
        length = struct.unpack("<I", item[4:])[0] if len(item) == 8 else 0
        at = file.tell()
        if item[:4] != _ITEM or at + length > size:
            raise InputError(f"{header.name}: truncated, packed pixels end early; restore the file or export it again")
        found.append((at, length))
        file.seek(at + length)
    if len(found) < 2:
        raise InputError(f"{header.name}: no pixels; restore the file or export it again")
    return found


def read_frame(file: BinaryIO, header: DicomHeader, number: int, packed: tuple[Fragments, ...]) -> npt.NDArray[Any]:
    """Return the values of frame `number` as stored (rows, columns), in native byte order.

    Raise `InputError` when they are damaged.
    """
    kind = header.kind
    if header.syntax is None:
        values = np.empty(kind.shape, kind.stored)
        file.seek(header.start + number * values.nbytes)
        if not fill_from(file, values):
            raise InputError(f"{header.name}: ended while being read; is it still being written? try again later")
        if header.is_little != _IS_LITTLE:
            values.byteswap(inplace=True)
        return _of_bits(values, kind)
    pieces = []
    for start, length in packed[number]:
        file.seek(start)
        pieces.append(file.read(length))
    try:
        values = _decoder(header.syntax)(b"".join(pieces), kind, header.name)
    except InputError:
        raise
    except Exception as error:  # each decoder has errors of its own
        raise InputError(f"{header.name}: damaged pixels ({error}); restore the file or export it again") from error
    if values.shape != kind.shape or values.dtype.kind not in "iu" or values.dtype.itemsize > kind.stored.itemsize:
        raise InputError(f"{header.name}: packed pixels are not {kind}; restore the file or export it again")
    return _of_bits(_widened(values, kind), kind)


def _widened(values: npt.NDArray[Any], kind: DicomKind) -> npt.NDArray[Any]:
    """The same bits in the type of the header, which a codec does not know: some have no sign, or 8 bits of 16."""
    if values.dtype.itemsize == kind.stored.itemsize:
        return np.ascontiguousarray(values).view(kind.stored)
    return values.astype(kind.stored)


def _of_bits(values: npt.NDArray[Any], kind: DicomKind) -> npt.NDArray[Any]:
    """Values without the bits that do not belong to them, which may hold anything."""
    spare = 8 * kind.stored.itemsize - kind.bits
    if not spare or kind.stored.kind == "f":
        return values
    values <<= spare
    values >>= spare  # with the sign, where there is one
    return values


def _decoder(syntax: str) -> Callable[[bytes, DicomKind, str], npt.NDArray[Any]]:
    if syntax == _RLE:
        return _from_rle
    return _from_jpeg2000 if syntax in _JPEG_2000 else _from_jpeg


def _from_rle(frame: bytes, kind: DicomKind, name: str) -> npt.NDArray[Any]:
    import imagecodecs

    values = np.frombuffer(imagecodecs.dicomrle_decode(frame, kind.stored), kind.stored)
    return values.reshape(kind.shape).copy()


def _from_jpeg2000(frame: bytes, kind: DicomKind, name: str) -> npt.NDArray[Any]:
    said = codestream_kind(io.BytesIO(frame), 0, name)
    if said.shape != kind.shape or said.stored is not None:
        raise InputError(f"{name}: packed pixels are {said}, not {kind}; restore the file or export it again")
    return unpacked_jpeg2000(frame, name)


def _from_jpeg(frame: bytes, kind: DicomKind, name: str) -> npt.NDArray[Any]:
    import imagecodecs

    form, shape = _frame_header(frame)
    if shape != kind.shape:
        raise InputError(f"{name}: packed pixels are of {shape}, not {kind}; restore the file or export it again")
    decode = imagecodecs.jpegls_decode if form == "JPEG-LS" else imagecodecs.jpegsof3_decode
    return np.array(decode(frame))


def _frame_header(frame: bytes) -> tuple[str, tuple[int, int]]:
    """Return the codec and the rows and columns that a lossless JPEG or JPEG-LS says of itself."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack(">HH", frame[at + 5 : at + 9])
            return _FRAME_MARKERS[marker], (rows, columns)
        at += 2 + struct.unpack(">H", frame[at + 2 : at + 4])[0]
    raise ValueError("no lossless JPEG")


_IS_LITTLE: Final = bool(np.little_endian)
