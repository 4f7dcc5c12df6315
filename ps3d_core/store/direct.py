"""Arrays of this project on a folder, from bytes to voxels and back in the thread that wants them.

Zarr hands every chunk from an event loop to another thread and back, which takes as long as decoding it, and all
workers of a process wait for the one loop. What this project stores has one form (see `arrays`), so a chunk can go from
its file to its place at once, through a buffer that stays in the cache. The bytes are those that Zarr writes, and what
is checked is the same: checksums, what a chunk unpacks to, and whether it is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import product
from math import ceil, prod
from typing import Any, Final, cast

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.indexing import morton_order_iter
from zarr.core.sync import sync
from zarr.storage import LocalStore

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.guarded import NothingImplied
from ps3d_core.store.noting import NotingStore
from ps3d_core.store.unpacking import unpacked_bytes

_ABSENT: Final = np.iinfo(np.uint64).max
_SUM_BYTES: Final = 4
_BYTE_ORDER: Final = BytesCodec(endian="little")

Voxels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DirectArray:
    """An array on a folder in the form of this project; made by `direct`.

    Attributes:
        array: as Zarr opened it.
        chunk: voxels (z, y, x) that are compressed together.
        shard: voxels (z, y, x) of a file; None when every chunk is a file.
        level: of compression.

    """

    array: zarr.Array[Any]
    chunk: Shape
    shard: Shape | None
    level: int

    @property
    def _file_shape(self) -> Shape:
        return self.shard or self.chunk

    @property
    def _inside(self) -> Shape:
        """Chunks of a file along each axis."""
        z, y, x = (side // c for side, c in zip(self._file_shape, self.chunk, strict=True))
        return z, y, x

    def read(self, box: Box, into: Voxels) -> None:
        """Read the voxels of `box` into an array of its shape and of the array's type.

        Raise `MissingDataError` or `CorruptDataError` for a file that is not there or empty, `ValueError` or
        `RuntimeError` for what cannot be decoded.
        """
        room = np.empty(self.chunk, self.array.dtype)
        for position, part in _cut(box, self._file_shape):
            with self._opened(position) as file:
                index = self._index(file)
                for at, seen in _cut(part, self.chunk):
                    within = tuple(a % n for a, n in zip(at, self._inside, strict=True))
                    place = into[seen.relative_to(box).slices]
                    if index[within][0] == _ABSENT:
                        place[...] = 0
                        continue
                    start, length = (int(number) for number in index[within])
                    self._decode(_read(file, start, length), room)
                    corner = _corner(at, self.chunk)
                    place[...] = room[seen.relative_to(corner).slices]

    def write(self, box: Box, voxels: Voxels) -> None:
        """Write `voxels` over `box`, which covers whole files or ends at the faces of the array."""
        for position, part in _cut(box, self._file_shape):
            inside = part.relative_to(_corner(position, self._file_shape))
            content = self._encode(voxels[part.relative_to(box).slices], inside.stop)
            buffer = default_buffer_prototype().buffer.from_bytes(content)
            sync((self.array.store_path / self._key(position)).set(buffer))

    def _key(self, position: Shape) -> str:
        return self.array.metadata.encode_chunk_key(position)

    def _opened(self, position: Shape) -> FileIO:
        store = cast(NothingImplied, self.array.store_path.store)
        return store.open_file("/".join(filter(None, (self.array.store_path.path, self._key(position)))))

    def _index(self, file: FileIO) -> npt.NDArray[np.uint64]:
        """Begin and length of every chunk in a file, (*chunks of a file, 2)."""
        size = os.fstat(file.fileno()).st_size
        if self.shard is None:
            return np.array([0, size], np.uint64).reshape(1, 1, 1, 2)
        length = 16 * prod(self._inside) + _SUM_BYTES
        if size < length:
            raise ValueError(f"a file of {size} bytes, too short for an index of its chunks")
        return np.frombuffer(_checked(_read(file, size - length, length)), "<u8").reshape(*self._inside, 2)

    def _decode(self, data: bytes, into: Voxels) -> None:
        packed = _checked(data)
        size = unpacked_bytes("zstd", memoryview(packed), into.nbytes)
        if size != into.nbytes:
            more = " or more" if size > into.nbytes else ""
            raise ValueError(f"it says that it unpacks to {size} bytes{more}, where its voxels take {into.nbytes}")
        Zstd(self.level).decode(packed, out=into)

    def _encode(self, voxels: Voxels, shape: Shape) -> bytes:
        """Bytes of the file with `voxels`, which have the `shape` of the file or end at the faces of the array."""
        codec, parts, start = Zstd(self.level), list[bytes](), 0
        index = np.full((*self._inside, 2), _ABSENT, "<u8")  # as chunks beyond the array stay
        chunks = dict(_cut(Box.of(shape), self.chunk))
        for z, y, x in morton_order_iter(self._inside):
            if (box := chunks.get((z, y, x))) is None:
                continue
            chunk = np.ascontiguousarray(voxels[box.slices], dtype=self.array.dtype)
            if box.shape != self.chunk:
                chunk = np.pad(chunk, [(0, side - n) for side, n in zip(self.chunk, box.shape, strict=True)])
            parts.append(_with_sum(codec.encode(chunk)))
            index[z, y, x] = start, len(parts[-1])
            start += len(parts[-1])
        return b"".join((*parts, _with_sum(index.tobytes()))) if self.shard else parts[0]


def direct(array: zarr.Array[Any], *, writing: bool = False) -> DirectArray | None:
    """Return the way to the voxels of an array of this project on a folder; None for any other array.

    For writing, it has to be open for that, and for reading be one in which nothing is implied (see `guarded`).
    """
    store, metadata = array.store_path.store, array.metadata
    guard = NotingStore if writing else NothingImplied
    if metadata.zarr_format != 3 or not isinstance(store, guard) or not isinstance(store._store, LocalStore):
        return None
    codecs, shard = metadata.codecs, None
    if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec):
        if codecs[0].index_codecs != (_BYTE_ORDER, Crc32cCodec()) or codecs[0].index_location.value != "end":
            return None
        codecs, shard = codecs[0].codecs, cast(Shape, array.shards)
    match codecs:
        case (BytesCodec() as order, ZstdCodec(level=level), Crc32cCodec()):
            little = order.endian is None or order.endian == _BYTE_ORDER.endian
        case _:
            return None
    simple = array.dtype.kind in "iufb" and array.dtype.isnative and array.ndim == 3 and array.order == "C"
    if not (little and simple and array.fill_value == 0):
        return None
    return DirectArray(array, cast(Shape, array.chunks), shard, level)


def _cut(box: Box, shape: Shape) -> Iterator[tuple[Shape, Box]]:
    """The parts of `box` in the cells of `shape` that it touches, in C order, each with the position of its cell."""
    if box.is_empty:
        return
    z, y, x = (range(a // n, ceil(b / n)) for a, b, n in zip(box.start, box.stop, shape, strict=True))
    for position in product(z, y, x):
        yield position, box.intersect(_corner(position, shape, shape))


def _corner(position: Shape, shape: Shape, size: Shape = (0, 0, 0)) -> Box:
    """The box of `size` that begins where the cell of `shape` at `position` does."""
    z, y, x = (p * n for p, n in zip(position, shape, strict=True))
    return Box.of(size).shift((z, y, x))


def _with_sum(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(_SUM_BYTES, "little")


def _checked(data: bytes) -> bytes:
    """Return `data` without the checksum at its end. Raise `ValueError` when it is not that of the rest."""
    content, stored = data[:-_SUM_BYTES], data[-_SUM_BYTES:]
    if (computed := int(google_crc32c.value(content)).to_bytes(_SUM_BYTES, "little")) != stored:
        raise ValueError(f"Stored and computed checksum do not match. Stored: {stored!r}. Computed: {computed!r}.")
    return content


def _read(file: FileIO, start: int, length: int) -> bytes:
    """Return `length` bytes of a file, fewer where it ends."""
    file.seek(start)
    return file.read(length) or b""
