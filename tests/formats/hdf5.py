"""HDF5 and NeXus files, written and read by h5py alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

CHUNKS = (4, 8, 8)
"""Of small volumes; large ones have larger chunks, as programs write them."""
_LARGE = 512


def write_nexus(
    folder: Path, volume: Volume, spacing: Spacing, *, libver: str = "earliest", name: str = "scan.h5", **storage: Any
) -> Path:
    """NXdata at /entry/data, shown by default, with axes in mm."""
    with h5py.File(folder / name, "w", libver=libver) as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "data"
        data = entry.create_group("data")
        data.attrs["NX_class"], data.attrs["signal"] = "NXdata", "data"
        data.attrs["axes"] = ["z", "y", "x"]
        data.create_dataset("data", data=volume, **storage)
        for axis, side, length in zip("zyx", spacing, volume.shape, strict=True):
            data[axis] = np.arange(length) * side
            data[axis].attrs["units"] = "mm"
    return folder / name


def _bare(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    with h5py.File(folder / "scan.hdf5", "w") as file:
        file["data"] = volume.astype(volume.dtype.newbyteorder(">"))
    return folder / "scan.hdf5"


def _virtual(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    layout = h5py.VirtualLayout(volume.shape, volume.dtype)
    (folder / "parts").mkdir()
    for start in range(0, len(volume), 3):
        part = volume[start : start + 3]
        with h5py.File(folder / f"parts/part{start}.h5", "w") as file:
            file["data"] = part
        layout[start : start + len(part)] = h5py.VirtualSource(f"parts/part{start}.h5", "data", part.shape)
    with h5py.File(folder / "scan.nxs", "w", libver="latest") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "scan.nxs"


def _slices(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    for index, values in enumerate(volume):
        with h5py.File(folder / f"slice_{index}.h5", "w") as file:
            file["entry/data"] = values
    return folder


def _read(source: Path) -> Volume:
    """The largest array with three axes."""
    with h5py.File(source) as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        values = np.asarray(max((each for each in arrays if each.ndim == 3), key=lambda each: each.size)[()])
        return values.astype(values.dtype.newbyteorder("="))


def _read_slices(source: Path) -> Volume:
    slices = []
    for index in range(len(list(source.iterdir()))):
        with h5py.File(source / f"slice_{index}.h5") as file:
            slices.append(file["entry/data"][()])
    return np.stack(slices)


def _metadata(source: Path) -> list[Part]:
    """All of the file but its chunks."""
    with h5py.File(source) as file:
        chunks: list[Any] = []
        file["entry/data/data"].id.chunk_iter(chunks.append)
    parts, at = [], 0
    for start, size in sorted((chunk.byte_offset, chunk.size) for chunk in chunks):
        parts += [(source, at, start)] * (start > at)
        at = start + size
    return parts + [(source, at, source.stat().st_size)] * (at < source.stat().st_size)


def _packed(**packing: Any) -> Callable[[Path, Volume, Spacing], Path]:
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        chunks = CHUNKS if max(volume.shape) < _LARGE else (4, 128, 128)
        return write_nexus(folder, volume, spacing, chunks=chunks, **packing)

    return write


def _storage(name: str, **packing: Any) -> FileFormat:
    return FileFormat(f"NeXus, {name}", _packed(**packing), _read, headers=_metadata)


FORMATS = [
    FileFormat("HDF5, one array, big-endian", _bare, _read, spacing=None),
    FileFormat("NeXus, in one piece", write_nexus, _read),
    _storage("gzip", compression="gzip", shuffle=True, fletcher32=True),
    _storage("lzf", compression="lzf"),
    _storage("bitshuffle LZ4", libver="latest", **hdf5plugin.Bitshuffle(cname="lz4")),
    _storage("blosc", **hdf5plugin.Blosc()),
    _storage("Zstandard", libver="latest", **hdf5plugin.Zstd()),
    _storage("LZ4", **hdf5plugin.LZ4()),
    FileFormat("HDF5, a slice per file", _slices, _read_slices, spacing=None),
    FileFormat("HDF5, virtual", _virtual, _read, spacing=None, is_remote=False),
]
