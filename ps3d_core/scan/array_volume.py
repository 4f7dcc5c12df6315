"""Arrays of this process as a source: NumPy, Zarr, Dask, and whatever else gives slices like these."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.store.arrays import array_name
from ps3d_core.store.location import Location


@runtime_checkable
class ArrayLike(Protocol):
    """Object with a shape, a dtype and slices that NumPy can take."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (z, y, x) in voxels."""

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""

    def __getitem__(self, selection: Any, /) -> Any:
        """Some of the voxels."""


class ArrayVolume(ScanReader):
    """An array (z, y, x) of any kind; slices are asked for a few at a time."""

    def __init__(self, array: ArrayLike) -> None:
        self.description = f"{type(array).__name__} of {'x'.join(map(str, array.shape))}"
        self.shape = scan_shape(tuple(map(int, array.shape)), self.description)
        self.dtype = scan_dtype(array.dtype, self.description)
        self.chunk_depth = _chunk_depth(array)
        self._array = array

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        return np.array(self._array[start:stop], dtype=self.dtype, order="C")

    def close(self) -> None:
        """Do nothing, as nothing is held open."""


def is_array(source: object) -> TypeGuard[ArrayLike]:
    """Return whether `source` is an array rather than the name of a place."""
    return not isinstance(source, Location) and isinstance(source, ArrayLike)


def folder_of(array: ArrayLike) -> Location | None:
    """Return where on this machine a Zarr array lies; None for any other array."""
    if not isinstance(array, zarr.Array) or not isinstance(array.store_path.store, LocalStore):
        return None
    return Location.parse(array_name(array))


def _chunk_depth(array: ArrayLike) -> int:
    """Slices that are decoded together."""
    chunks: Any = getattr(array, "shards", None) or getattr(array, "chunks", None)
    depth = chunks[0] if chunks else 1
    return int(max(depth) if isinstance(depth, tuple) else depth)  # of Dask, the chunks along each axis
