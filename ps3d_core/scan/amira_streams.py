"""Voxels of AmiraMesh files that are not bytes as they are: runs of bytes, and text. Read forwards in bounded memory.

Of each a stream is made that seems to hold the voxels flat. Who goes back begins again where an earlier piece began.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, BinaryIO, Final, cast

import numpy as np

_PIECE: Final = 2**18
"""Bytes of the file that are decoded at a time, and those that are made of them at most."""
_TEXT: Final = 2**16
"""Bytes of text that are decoded at a time."""
_LONGEST: Final = 64
"""Characters of a number."""
_MARKS: Final = 4096
"""Most places that are remembered."""


def part_of(file: BinaryIO, stop: int) -> BinaryIO:
    """Return a file that ends where `file` has byte `stop`. The latter belongs to somebody else, who closes it."""
    return cast(BinaryIO, _Part(file, stop))


def unrolled(file: BinaryIO, start: int, stop: int, size: int) -> BinaryIO:
    """Return a stream of the `size` bytes that runs in a file from byte `start` to `stop` stand for."""
    return cast(BinaryIO, _Unrolled(file, start, stop, size))


def from_text(file: BinaryIO, start: int, stop: int, dtype: np.dtype[Any], count: int) -> BinaryIO:
    """Return a stream of `count` numbers, as bytes of `dtype`, that are text in a file from byte `start` to `stop`."""
    return cast(BinaryIO, _FromText(file, start, stop, dtype, count))


class _Part(io.RawIOBase):
    """A file that ends earlier."""

    def __init__(self, file: BinaryIO, stop: int) -> None:
        self._file, self._stop = file, stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (0, self._file.tell(), self._stop)[whence])

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(max(0, min(len(buffer), self._stop - self._file.tell())))
        buffer[: len(piece)] = piece
        return len(piece)


class _Decoded(io.RawIOBase):
    """The `size` bytes that those of a file from `start` to `stop` stand for."""

    def __init__(self, file: BinaryIO, start: int, stop: int, size: int) -> None:
        self._file, self._stop, self._size = file, stop, size
        self._marks = {0: start}
        self._step = max(size // _MARKS, _PIECE)
        self._wanted = 0
        self._begin_at(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._wanted

    def seek(self, offset: int, whence: int = 0) -> int:
        self._wanted = offset + (0, self._wanted, self._size)[whence]
        return self._wanted

    def readinto(self, buffer: Any) -> int:
        if self._wanted < self._at:
            self._begin_at(max(mark for mark in self._marks if mark <= self._wanted))
        while self._at < self._wanted and self._take(self._wanted - self._at):
            pass
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        self._wanted = self._at
        return len(piece)

    def _begin_at(self, mark: int) -> None:
        self._at, self._next = mark, self._marks[mark]
        self._ready = memoryview(b"")

    def _take(self, most: int) -> memoryview:
        most = min(most, self._size - self._at)
        if most and not self._ready:
            if self._at >= max(self._marks) + self._step:
                self._marks[self._at] = self._next
            self._ready = self._decode(self._size - self._at)
            if not self._ready:
                raise EOFError("it ends before its last voxel")
        piece, self._ready = self._ready[:most], self._ready[most:]
        self._at += len(piece)
        return piece

    def _packed(self, most: int) -> bytes:
        self._file.seek(self._next)
        return self._file.read(min(most, self._stop - self._next))

    @abstractmethod
    def _decode(self, most: int) -> memoryview:
        """Return up to `most` bytes that are next, and move on in the file; none at its end.

        Raise `ValueError` when more follows where no more may.
        """


class _Unrolled(_Decoded):
    """What runs of bytes stand for."""

    def _decode(self, most: int) -> memoryview:
        from ps3d_core.scan.amira_runs import unroll

        out = np.empty(_PIECE, np.uint8)
        taken, made = unroll(np.frombuffer(self._packed(_PIECE), np.uint8), out)
        self._next += taken
        if made > most or (made == most and self._next != self._stop):
            raise ValueError("more runs than voxels")
        return out[:made].data


class _FromText(_Decoded):
    """Numbers in text, as bytes of their type."""

    def __init__(self, file: BinaryIO, start: int, stop: int, dtype: np.dtype[Any], count: int) -> None:
        super().__init__(file, start, stop, count * dtype.itemsize)
        self._dtype = dtype

    def _decode(self, most: int) -> memoryview:
        text = self._packed(_TEXT)
        if self._next + len(text) < self._stop:  # the last number may go on behind
            text = text[: max(text.rfind(b" "), text.rfind(b"\n")) + 1]
        words = text.split()
        self._next += len(text)
        left = most // self._dtype.itemsize
        if len(words) > left and not words[left].startswith(b"@"):
            raise ValueError("more numbers than voxels")
        words = words[:left]
        if max(map(len, words), default=0) > _LONGEST:
            raise ValueError("something longer than a number")
        values = np.array(words, dtype="S").astype(np.float64 if self._dtype.kind == "f" else np.int64)
        if self._dtype.kind != "f" and len(values):
            limits = np.iinfo(self._dtype)
            if values.min() < limits.min or values.max() > limits.max:
                raise ValueError(f"a number that is no {self._dtype.name}")
        return memoryview(values.astype(self._dtype).tobytes())
