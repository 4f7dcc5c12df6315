"""Voxels that lie in a file one after the other, x fastest, z slowest: what many formats hold behind their headers.

A range of slices is then one run of bytes and, read in C order, already has axes (z, y, x). Voxels that are packed as
one stream (gzip, zlib, bzip2) are never unpacked as a whole: slabs that are asked for in order are unpacked in order,
once. A checksum at the end of the stream is verified when the last slice is read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from dataclasses import dataclass, replace
from math import prod
from threading import Lock
from typing import Any, BinaryIO, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.files import fill_from, size_of

Packing = Literal["gzip", "zlib", "bzip2"]

BROKEN: Final = (EOFError, OSError, ValueError, OverflowError, zlib.error)
"""What a damaged stream makes the libraries raise."""
AT_END: Final = -1
"""Start of voxels that reach to the end of their file, whatever lies before them."""
_MOST_RATIO: Final = {"gzip": 1032, "zlib": 1032, "bzip2": 100_000}
"""Bytes that one packed byte can stand for at most."""


@dataclass(frozen=True, slots=True)
class FlatLayout:
    """Place of the voxels in a file.

    Attributes:
        shape: of the volume (z, y, x), voxels.
        stored: dtype of a voxel, with its byte order.
        start: first byte of the voxels in the file, or in the unpacked stream; `AT_END` when they are the last bytes
            of a file that is not packed.
        packing: how the stream is packed; None when it is not.
        packed_from: first byte of the packed stream in the file.
        exact: True when nothing may follow the voxels.
        padding: most bytes that may follow them all the same: to fill up a block, or of something else.

    """

    shape: Shape
    stored: np.dtype[Any]
    start: int = 0
    packing: Packing | None = None
    packed_from: int = 0
    exact: bool = True
    padding: int = 0

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice."""
        return prod(self.shape[1:]) * self.stored.itemsize

    @property
    def bytes(self) -> int:
        """Bytes of all voxels."""
        return self.shape[0] * self.slice_bytes

    @property
    def end(self) -> int:
        """First byte behind the voxels, in the file or in the unpacked stream."""
        return self.start + self.bytes


class FlatVoxels:
    """Voxels of an open file, read a range of slices at a time; owns the file. Calls may come from several threads.

    Raise `InputError` when the file cannot hold the voxels, or holds more than them where it must not.
    """

    def __init__(self, file: BinaryIO, layout: FlatLayout, name: str) -> None:
        if layout.start == AT_END:
            layout = replace(layout, start=max(0, size_of(file) - layout.bytes))
        self._file, self._layout, self._name = file, layout, name
        self._lock = Lock()
        self._check_size()
        self._stream = unpacked(file, layout.packing, layout.packed_from)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return slices `start` to `stop` as a new array (z, y, x) of the stored dtype in native byte order.

        Raise `InputError` when the file is damaged or ends before.
        """
        layout = self._layout
        slab = np.empty((stop - start, *layout.shape[1:]), layout.stored)
        with self._lock:
            try:
                self._stream.seek(layout.start + start * layout.slice_bytes)
                whole = fill_from(self._stream, slab)
                excess = whole and self._is_more_behind(stop)
            except BROKEN as error:
                raise InputError(f"{self._name}: damaged ({error}); restore the file") from error
        if excess:
            raise self._not_its_header()
        if not whole:
            raise InputError(f"{self._name}: truncated before slice {stop}; restore the file")
        if not layout.stored.isnative:
            slab.byteswap(inplace=True)
        return slab.view(layout.stored.newbyteorder("="))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._file.close()

    def _is_more_behind(self, stop: int) -> bool:
        """Only who reaches the end of a packed stream knows that all before it is whole, and that nothing follows."""
        layout = self._layout
        if layout.packing is None or stop != layout.shape[0]:
            return False
        return len(self._stream.read(layout.padding + 1)) > layout.padding and layout.exact

    def _check_size(self) -> None:
        layout, size = self._layout, size_of(self._file)
        room = (size - layout.packed_from) * _MOST_RATIO[layout.packing] if layout.packing else size
        if room < layout.end:
            raise InputError(
                f"{self._name}: truncated, {size} bytes do not hold {layout.shape} {layout.stored.name} voxels; "
                "restore the file"
            )
        if layout.packing is None and layout.exact and size > layout.end + layout.padding:
            raise self._not_its_header()

    def _not_its_header(self) -> InputError:
        return InputError(
            f"{self._name}: more bytes than {self._layout.shape} {self._layout.stored.name} voxels; the header is not "
            "that of this file; restore it or convert the scan again"
        )


def unpacked(file: BinaryIO, packing: Packing | None, start: int = 0) -> BinaryIO:
    """Return a seekable stream of what is packed in `file` from byte `start` on; the file itself where nothing is."""
    if packing is None:
        return file
    file.seek(start)
    part = cast(BinaryIO, _From(file, start)) if start else file
    if packing == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=part, mode="rb"))
    if packing == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(part))
    return cast(BinaryIO, io.BufferedReader(_Inflated(part)))


class _From(io.RawIOBase):
    """A file without its first bytes."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (self._start if whence == 0 else 0), whence) - self._start

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


_PIECE: Final = 2**18
"""Bytes that are unpacked at a time."""


class _Inflated(io.RawIOBase):
    """What a zlib stream holds, read forwards; going back begins again at the front."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rewind()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        target = offset + (self._at if whence == 1 else 0)
        if whence == 2:
            raise OSError("the end of a packed stream is not known before it is read")
        if target < self._at:
            self._rewind()
        while self._at < target and self._take(min(_PIECE, target - self._at)):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _take(self, most: int) -> bytes:
        """Unpack up to `most` bytes; none at the end of the stream."""
        while most and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(_PIECE)
            if not packed:
                raise EOFError("the packed stream ends before its end mark")
            if piece := self._inflater.decompress(packed, min(most, _PIECE)):
                self._at += len(piece)
                return piece
        return b""

    def _rewind(self) -> None:
        self._file.seek(0)
        self._inflater, self._at = zlib.decompressobj(), 0
