"""Chunks that were packed with bitshuffle or LZ4, checked before they are unpacked.

Their filters believe what a damaged chunk states: the one reads beyond its end, which ends the process, the other asks
for as much memory as it says. A chunk of either is, after 8 bytes with its length unpacked and 4 with that of a block,
a row of blocks, each behind 4 bytes with its length. With bitshuffle fewer than 8 values may follow as they are, and
without LZ4 or Zstandard there are no lengths. All numbers are big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from ps3d_core.errors import InputError

_LZ4: Final = 32004
_BITSHUFFLE: Final = 32008
_SHUFFLE: Final = 2
_FLETCHER32: Final = 3
_CHECKSUM: Final = 4
_PACKED: Final = {2, 3}
"""Codes of LZ4 and Zstandard in the parameters of bitshuffle."""
_HEAD: Final = 12
_GROUP: Final = 8
"""Values that bitshuffle takes together."""


@dataclass(frozen=True, slots=True)
class _Packing:
    """How chunks of a dataset are packed.

    Attributes:
        place: of the filter among others.
        size: bytes of a chunk unpacked.
        group: bytes of which blocks of a chunk, but for the last, are a multiple.
        checksum: bytes behind the blocks.

    """

    place: int
    size: int
    group: int
    checksum: int

    def is_sound(self, data: memoryview) -> bool:
        """Whether the blocks of a chunk fill it, and are as many as its size unpacked asks for."""
        block = int.from_bytes(data[8:_HEAD], "big")
        if int.from_bytes(data[:8], "big") != self.size or block < self.group or block % self.group:
            return False
        whole = self.size // self.group * self.group
        at = _HEAD
        for _ in range(-(-whole // block)):
            at += 4 + int.from_bytes(data[at : at + 4], "big")
            if at > len(data):
                return False
        return at + (self.size - whole) + self.checksum == len(data)


class ChunkCheck:
    """Looks at chunks of a dataset of h5py before they are read. Raise `InputError` for a packing that is not read."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._packing = _packing_of(array) if array.chunks else None

    def require_sound(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Raise `InputError` for a damaged chunk with any of the voxels in `ranges`, from and to along each axis."""
        if self._packing is None:
            return
        sides = zip(ranges, self._array.chunks, strict=True)
        for corner in product(*(range(start - start % side, stop, side) for (start, stop), side in sides)):
            skipped, data = self._array.id.read_direct_chunk(corner)
            if not skipped >> self._packing.place & 1 and not self._packing.is_sound(memoryview(data)):
                raise InputError(f"{_name(self._array)}: the chunk at {corner} is damaged; restore the file")


def _packing_of(array: Any) -> _Packing | None:
    plist = array.id.get_create_plist()
    filters = [plist.get_filter(index) for index in range(plist.get_nfilters())]
    numbers = [each[0] for each in filters]
    found = [index for index, number in enumerate(numbers) if number in (_LZ4, _BITSHUFFLE)]
    if not found:
        return None
    place = found[0]
    before, after = numbers[:place], numbers[place + 1 :]
    if before not in ([], [_SHUFFLE]) or after not in ([], [_FLETCHER32]):
        raise InputError(f"{_name(array)}: packed by filters {numbers} in this order, which is not read; write it anew")
    size, checksum, group = prod(array.chunks) * array.dtype.itemsize, _CHECKSUM * len(after), 1
    if numbers[place] == _BITSHUFFLE:
        values = tuple(filters[place][2])
        if len(values) < 5 or values[4] not in _PACKED:
            return None
        if values[2] != array.dtype.itemsize:
            raise InputError(f"{_name(array)}: packed as values of {values[2]} bytes, not its own; restore the file")
        group = _GROUP * values[2]
    return _Packing(place, size, group, checksum)


def _name(array: Any) -> str:
    return f"{array.file.filename}:{array.name}"
