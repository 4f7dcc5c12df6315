"""Whether all voxels of an HDF5 dataset are there, where they must be, and packed in ways that are read.

The library fills what is absent: a chunk that was never written, a source of a virtual dataset that was moved. Nothing
of that is a grey value of the scan. And it trusts sizes in files, so what they add up to is compared here with the
file.
"""

from __future__ import annotations

from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.scan.hdf5_file import Found, Hdf5Files, beside, reading
from ps3d_core.store.location import Location

_DEFLATE: Final = 1
_ONE_TO_ONE: Final = {2, 3}
"""Filters that change no sizes, but for a checksum: shuffle, fletcher32."""
_READ: Final = {1, 2, 3, 4, 5, 6, 307, 32000, 32001, 32004, 32008, 32015, 32026}
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset, bzip2, lzf, blosc, lz4, bitshuffle, zstd, blosc2."""
_MOST_RATIO: Final = 1032
"""Bytes that one deflated byte can stand for."""
_CHECKSUM: Final = 4
_MOST_GROWTH: Final = 1.125
"""What a chunk that cannot be compressed becomes longer by, at most, with some bytes more."""
_OVERHEAD: Final = 4096
_MOST_SOURCES: Final = 100_000
_MOST_CELLS: Final = 2**26
"""Voxels, along each axis and for each source, and in all, that coverage is counted in."""
_DEEPEST: Final = 4
"""Virtual datasets of virtual datasets."""


def require_whole(files: Hdf5Files, found: Found, depth: int = 0) -> None:
    """Raise `InputError` when a dataset lacks voxels, is damaged so far as is seen, or is stored as is not read."""
    name = full_name(found)
    with reading(name):
        array = found.item
        if array.external:
            raise InputError(
                f"{name}: its voxels lie in other files, {array.external[0][0]!r}, which are not read; save it as one "
                "HDF5 file"
            )
        if array.is_virtual:
            _require_sources(files, found, depth)
        elif array.chunks:
            _require_chunks(found)
        else:
            _require_run(found)


def full_name(found: Found) -> str:
    """Return the file and the path in it."""
    return f"{found.file}:{found.path}"


def filters_of(array: Any) -> list[int]:
    """Return the numbers of the filters that chunks pass through when they are written."""
    plist = array.id.get_create_plist()
    return [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]


def _require_run(found: Found) -> None:
    """Of a dataset in one piece."""
    array, size = found.item, _size(found)
    needed = prod(array.shape) * array.dtype.itemsize
    start, held = array.id.get_offset(), array.id.get_storage_size()
    if held == 0:
        raise InputError(f"{full_name(found)}: no voxel was ever written; restore the file")
    if held < needed or (start is not None and start + needed > size):
        raise InputError(f"{full_name(found)}: truncated, {size} bytes do not hold its voxels; restore the file")


def _require_chunks(found: Found) -> None:
    array, name = found.item, full_name(found)
    _require_filters(found)
    chunk_bytes = prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > SLABS_BYTES:
        raise InputError(
            f"{name}: chunks of {array.chunks} voxels, {chunk_bytes / 2**30:.1f} GiB each; at most "
            f"{SLABS_BYTES / 2**30:.0f} GiB are read at once; write it again in smaller chunks, like h5repack -l CHUNK="
        )
    counted = _ChunkCount(filters_of(array), chunk_bytes, _size(found))
    array.id.chunk_iter(counted)
    if counted.misplaced:
        raise InputError(f"{name}: truncated or damaged, a chunk does not lie in the file; restore the file")
    there = prod(ceil(side / chunk) for side, chunk in zip(array.shape, array.chunks, strict=True))
    if counted.number < there:
        raise InputError(
            f"{name}: {there - counted.number} of {there} chunks were never written; restore the file, or have the "
            "program that writes it finish"
        )


class _ChunkCount:
    """Counts chunks, and those whose place and size are impossible."""

    def __init__(self, filters: list[int], chunk_bytes: int, size: int) -> None:
        self._size, self._bytes = size, chunk_bytes
        # What the filters leave of a chunk: all of it, or as little as deflate can make of it.
        self._is_plain = set(filters) <= _ONE_TO_ONE
        self._is_deflated = _DEFLATE in filters and set(filters) <= {*_ONE_TO_ONE, _DEFLATE}
        self.number = self.misplaced = 0

    def __call__(self, chunk: Any) -> None:
        self.number += 1
        fits = chunk.byte_offset is not None and chunk.byte_offset + chunk.size <= self._size
        fits &= chunk.size <= self._bytes * _MOST_GROWTH + _OVERHEAD
        if self._is_plain:
            fits &= self._bytes <= chunk.size <= self._bytes + _CHECKSUM
        elif self._is_deflated:
            fits &= chunk.size * _MOST_RATIO + _CHECKSUM >= self._bytes
        self.misplaced += not fits


def _require_filters(found: Found) -> None:
    import h5py
    import hdf5plugin  # noqa: F401 (brings filters to the library)

    plist = found.item.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        number, _, _, title = plist.get_filter(index)
        if number not in _READ or not h5py.h5z.filter_avail(number):
            said = title.decode("utf-8", "replace")[:60] if title else "without a name"
            raise InputError(
                f"{full_name(found)}: compressed with filter {number} ({said}), which is not read; write it again, "
                "like h5repack -f GZIP=4"
            )


def _require_sources(files: Hdf5Files, found: Found, depth: int) -> None:
    """Of a virtual dataset: every voxel comes from a dataset that is there and itself whole."""
    array, name = found.item, full_name(found)
    sources = array.virtual_sources()
    if depth >= _DEEPEST or len(sources) > _MOST_SOURCES:
        raise InputError(f"{name}: {len(sources)} virtual sources, nested {depth} deep; save it as a plain dataset")
    for file, paths in _by_file(sources).items():
        place = found.file if file == "." else _source_file(file, found)
        with Hdf5Files(place) as other:
            for path, least in paths.items():
                source = _require_source(other, path, least, depth)
                _require_fitting(source, array.dtype, name)
            files.beside |= {place, *other.beside} - {found.file}
    if not _covers([source.vspace for source in sources], array.shape):
        raise InputError(f"{name}: its virtual sources do not cover it all; restore or complete it")


def _source_file(file: str, found: Found) -> Location:
    what = f"{full_name(found)}: its virtual source"
    if "%" in file:
        raise InputError(f"{what} {file!r} is a pattern, which is not read; save it as a plain dataset")
    place = beside(file, found.file, what)
    if Path(file).is_absolute() and Path(file).exists() and str(place) != file:  # the library would read that one
        raise InputError(f"{what} leads out of the folder, to {file!r}; save it with paths from its own folder")
    return place


def _by_file(sources: list[Any]) -> dict[str, dict[str, list[int]]]:
    """Of every file, the datasets that are sources, and how long they must be along each axis."""
    found: dict[str, dict[str, list[int]]] = {}
    for source in sources:
        paths = found.setdefault(source.file_name, {})
        ends = [] if source.src_space.get_select_type() == _ALL else _ends(source.src_space)
        known = paths.setdefault(source.dset_name, ends)
        paths[source.dset_name] = [max(pair) for pair in zip(known, ends, strict=True)] if known and ends else ends
    return found


_ALL: Final = 3  # H5S_SEL_ALL


def _ends(space: Any) -> list[int]:
    return [int(end) + 1 for end in space.get_select_bounds()[1]]


def _require_source(files: Hdf5Files, path: str, least: list[int], depth: int) -> Found:
    import h5py

    source = files.find(path)
    name = f"{files.location}:{path}"
    if source is None or not isinstance(source.item, h5py.Dataset):
        raise InputError(f"{name}: not there, but a virtual dataset needs it; restore the file")
    if source.file != files.location:
        raise InputError(f"{name}: a virtual source behind a link to another file; name that file itself as source")
    shape = source.item.shape or ()
    if least and (len(shape) != len(least) or any(n < end for n, end in zip(shape, least, strict=True))):
        raise InputError(f"{name}: {shape}, of which a virtual dataset needs {tuple(least)}; restore the file")
    require_whole(files, source, depth + 1)
    return source


def _require_fitting(source: Found, dtype: np.dtype[Any], name: str) -> None:
    """Raise `InputError` when the type of a virtual dataset does not hold all values of a source: they are clipped."""
    if not np.can_cast(source.item.dtype, dtype):
        raise InputError(
            f"{name}: {dtype.name}, of a virtual source of {source.item.dtype.name}, whose values it cannot hold; name "
            f"the source itself, {full_name(source)}, or save it as a plain dataset"
        )


def _covers(spaces: list[Any], shape: tuple[int, ...]) -> bool:
    """Whether selections of a dataset together are all of it.

    Indices along an axis that the same selections take are one cell; the cells are few, whatever the size is.
    """
    if len(spaces) * max(shape) > _MOST_CELLS:
        raise ValueError(f"{len(spaces)} virtual sources for {shape}; more than are checked")
    rows = [_rows_of(space, shape) for space in spaces]
    cells: list[npt.NDArray[np.bool_]] = [
        np.unique(np.stack([row[axis] for row in rows]), axis=1) for axis in range(len(shape))
    ]
    counts = [axis.shape[1] for axis in cells]
    if prod(counts) > _MOST_CELLS:
        raise ValueError("too many kinds of virtual sources to check")
    covered = np.zeros(counts, bool)
    for index in range(len(spaces)):
        covered[np.ix_(*(axis[index] for axis in cells))] = True
    return bool(covered.all())


def _rows_of(space: Any, shape: tuple[int, ...]) -> list[npt.NDArray[np.bool_]]:
    """Along each axis, which indices a regular selection takes."""
    if space.get_select_type() == _ALL:
        return [np.ones(side, bool) for side in shape]
    if not space.is_regular_hyperslab():
        raise ValueError("a virtual source at irregular places")
    rows = []
    for side, start, stride, count, block in zip(shape, *space.get_regular_hyperslab(), strict=True):
        index = np.arange(side) - start
        step = stride if count > 1 else max(side, block)  # of a single block any step may be stated
        rows.append((index >= 0) & (index // step < count) & (index % step < block))
    return rows


def _size(found: Found) -> int:
    return int(found.item.file.id.get_filesize())
