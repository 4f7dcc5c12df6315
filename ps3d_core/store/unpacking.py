"""How much a compressed chunk unpacks to, known before it is unpacked.

The metadata say how many voxels a chunk holds. What lies in the file may say something else, by mistake or by malice:
a few kilobytes can unpack to any size. Most formats tell the size at their start, and no more memory is taken than
they tell; those that do not are unpacked once in small pieces, which are only counted.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

FEED: Final = 2**16
"""Compressed bytes that are looked at together where unpacked bytes are counted."""
PIECE: Final = 2**20
"""Unpacked bytes that are in memory at once there."""
DAMAGED: Final = (zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError)
"""What decompressors raise besides `ValueError`, `RuntimeError` and `OSError`."""

_ZSTD_MAGIC: Final = 0xFD2FB528
# A compressed block whose size nobody tells: at most eight times as much, and hardly ever less.
_ZSTD_BLOCK: Final = 2**14


def unpacked_bytes(name: str, data: memoryview, limit: int) -> int:
    """Return how many bytes `data` of the compressor `name` (see `COMPRESSORS`) unpack to, at least.

    Where that has to be counted, counting ends above `limit`. Raise `ValueError` for what this compressor did not
    write.
    """
    try:
        return COMPRESSORS[name](data, limit)
    except (*DAMAGED, OSError, IndexError) as error:
        raise ValueError(f"damaged {name} data ({error})") from error


def _zstd(data: memoryview, limit: int) -> int:
    position = total = 0
    while position < len(data):
        known, checksum, position = _zstd_header(data, position)
        if known is not None:
            return total + known
        last = False
        while not last:  # the writer did not know the size when it began
            header = int.from_bytes(data[position : position + 3], "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            if position + 3 > len(data):
                raise EOFError("cut off")
            position += 3 + (1 if kind == 1 else size)
            total += _ZSTD_BLOCK if kind == 2 else size
        position += 4 * checksum
    return total


def _zstd_header(data: memoryview, start: int) -> tuple[int | None, bool, int]:
    """Size of the frame at `start` where it says one, whether a checksum ends it, and where its blocks begin."""
    if int.from_bytes(data[start : start + 4], "little") != _ZSTD_MAGIC:
        raise ValueError("no zstd frame")
    descriptor = data[start + 4]
    one_segment = descriptor >> 5 & 1
    field = start + 5 + (1 - one_segment) + (0, 1, 2, 4)[descriptor & 3]
    width = (one_segment, 2, 4, 8)[descriptor >> 6]
    size = int.from_bytes(data[field : field + width], "little") + 256 * (width == 2)
    return (size if width else None), bool(descriptor & 4), field + width


def _blosc(data: memoryview, limit: int) -> int:
    # The decoder itself reads on behind data that were cut off.
    if len(data) < 16 or int.from_bytes(data[12:16], "little") > len(data):
        raise EOFError("cut off")
    return int.from_bytes(data[4:8], "little")


def _lz4(data: memoryview, limit: int) -> int:
    if len(data) < 4:
        raise EOFError("cut off")
    return int.from_bytes(data[:4], "little")


def _deflate(wbits: int) -> Callable[[memoryview, int], int]:
    def count(data: memoryview, limit: int) -> int:
        total, member = 0, zlib.decompressobj(wbits)
        for start in range(0, len(data), FEED):
            piece = bytes(data[start : start + FEED])
            while piece:
                total += len(member.decompress(piece, PIECE))
                if total > limit:
                    return total
                piece = member.unconsumed_tail
                if member.eof:  # what follows is another member, or filling
                    piece, member = member.unused_data.lstrip(b"\0"), zlib.decompressobj(wbits)
        return total

    return count


def _streamed(decompressor: Callable[[], Any]) -> Callable[[memoryview, int], int]:
    def count(data: memoryview, limit: int) -> int:
        total, stream = 0, decompressor()
        for start in range(0, len(data), FEED):
            piece = bytes(data[start : start + FEED])
            while piece or not stream.needs_input:
                total += len(stream.decompress(piece, PIECE))
                if total > limit:
                    return total
                piece = b""
                if stream.eof:
                    piece, stream = stream.unused_data, decompressor()
        return total

    return count


COMPRESSORS: Final[Mapping[str, Callable[[memoryview, int], int]]] = {
    "zstd": _zstd,
    "blosc": _blosc,
    "lz4": _lz4,
    "gzip": _deflate(31),
    "zlib": _deflate(zlib.MAX_WBITS),
    "bz2": _streamed(bz2.BZ2Decompressor),
    "lzma": _streamed(lzma.LZMADecompressor),
}
"""The compressors that Zarr arrays are read with, by their names in Zarr 2."""
