"""Heaps of texts in HDF5 files, checked before the library reads a text from one.

A global heap collection is 16 bytes of head (GCOL, version 1, three zeros, its length) and objects behind one another,
each with 16 bytes of head: its number, 0 for what is free, and its length. In a damaged one of length 0 the library
goes round for ever. All numbers are little-endian, lengths as long as the file says: here of 8 bytes, which is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from ps3d_core.errors import InputError
from ps3d_core.scan.files import size_of

_HEAD: Final = b"GCOL\1\0\0\0"
_LENGTH: Final = 16
_ALIGNED: Final = 8
_LOCAL: Final = 2**21
_REMOTE: Final = 2**20
"""Bytes at either end of a file that are searched for heaps."""


def require_sound_heaps(file: BinaryIO, name: str, *, is_local: bool) -> None:
    """Raise `InputError` when a heap near the front or the end of a file is damaged so that it has no end."""
    for block in _ends(file, _LOCAL if is_local else _REMOTE):
        at = block.find(_HEAD)
        while at >= 0:
            if not _has_an_end(memoryview(block)[at:]):
                raise InputError(f"{name}: damaged, its texts have no end; restore the file")
            at = block.find(_HEAD, at + 1)


def _ends(file: BinaryIO, most: int) -> Iterator[bytes]:
    size = size_of(file)
    file.seek(0)
    yield file.read(most)
    if size > most:
        file.seek(max(most, size - most))
        yield file.read(most)


def _has_an_end(heap: memoryview) -> bool:
    """Whether objects lead from one to the next up to the end of a heap, as far as it is there."""
    end = min(int.from_bytes(heap[8:_LENGTH], "little"), len(heap))
    at = _LENGTH
    while at + _LENGTH <= end:
        number, length = int.from_bytes(heap[at : at + 2], "little"), int.from_bytes(heap[at + 8 : at + 16], "little")
        step = _LENGTH + -(-length // _ALIGNED) * _ALIGNED if number else length
        if step == 0 or length > end:
            return False
        at += step
    return True
