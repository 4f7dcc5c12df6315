"""Volumes as HDF5: one dataset of NeXus at /entry/data/data, with the positions of its voxels along each axis.

Chunks are tiles of slices, packed with what every installation of HDF5 unpacks: shuffle and deflate, whose streams end
with a checksum. They are packed here, by several threads, as the library has one lock for all it does.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.slabs import Slabs
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK

TILE: Final = 512
"""Edge of a chunk, in voxels; one slice deep, so that slabs of any depth are whole chunks."""
_LEVEL: Final = 1  # the fastest; higher levels gain little on noise
_THREADS: Final = 4


def write_hdf5(location: Location, slabs: Slabs, shape: Shape, dtype: np.dtype[Any], place: Placed) -> None:
    """Write one local HDF5 file; of a spacing both positions and pixel sizes of NeXus are kept."""
    import h5py

    path = location.local_path
    if path is None:
        raise ValueError(f"{location} is not local")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w+b") as file:
        sink = _Sink(file)
        with h5py.File(sink, "w") as hdf5, ThreadPoolExecutor(_THREADS, "hdf5") as threads:
            data = _create(hdf5, shape, dtype, place)
            done = 0
            for slab in slabs:
                corners = list(_corners(len(slab), data.chunks, shape))
                packed = threads.map(lambda corner: _packed(slab, corner, data.chunks), corners)  # noqa: B023
                for (z, y, x), chunk in zip(corners, packed, strict=True):
                    data.id.write_direct_chunk((done + z, y, x), chunk)
                done += len(slab)
                if sink.error is not None:
                    break
        if sink.error is not None:
            raise sink.error


def _create(file: Any, shape: Shape, dtype: np.dtype[Any], place: Placed) -> Any:
    file.attrs["creator"], file.attrs["default"] = MARK, "entry"
    entry = _group(file, "entry", "NXentry", default="data")
    group = _group(entry, "data", "NXdata", signal="data")
    if place.spacing is not None:
        group.attrs["axes"] = ["z", "y", "x"]
        for index, (axis, side) in enumerate(zip("zyx", place.spacing, strict=True)):
            group.attrs[f"{axis}_indices"] = index
            positions = place.origin[index] + np.arange(shape[index]) * side
            for name, value in ((axis, positions), (f"{axis}_pixel_size", side)):
                group[name] = value
                group[name].attrs["units"] = "mm"
    chunks = (1, min(shape[1], TILE), min(shape[2], TILE))
    stored = np.dtype(dtype).newbyteorder("<")
    return group.create_dataset(
        "data", shape, stored, chunks=chunks, compression="gzip", compression_opts=_LEVEL, shuffle=True
    )


def _group(parent: Any, name: str, kind: str, **attributes: str) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    for key, value in attributes.items():
        group.attrs[key] = value
    return group


def _corners(depth: int, chunks: Shape, shape: Shape) -> Iterator[tuple[int, int, int]]:
    for z in range(depth):
        for y in range(0, shape[1], chunks[1]):
            for x in range(0, shape[2], chunks[2]):
                yield z, y, x


def _packed(slab: npt.NDArray[Any], corner: tuple[int, int, int], chunks: Shape) -> bytes:
    """One chunk as the library would pack it: first bytes of all voxels, then second ones, ..., deflated."""
    z, y, x = corner
    values = slab[z, y : y + chunks[1], x : x + chunks[2]]
    tile = np.zeros(chunks[1:], slab.dtype.newbyteorder("<"))
    tile[: values.shape[0], : values.shape[1]] = values
    shuffled = np.ascontiguousarray(tile.reshape(-1, 1).view(np.uint8).T)
    return zlib.compress(shuffled.data, _LEVEL)


class _Sink(io.RawIOBase):
    """A file that keeps the first error of the system, and takes what comes after it for written.

    The library, told that it cannot write, cannot close the file either, and ends the process later.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self._file.write(data)
                self._file.flush()
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size or 0

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing, as each piece is written at once."""

    def seekable(self) -> bool:
        return True
