"""Ids that a program stored as floats, as the whole numbers that they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.reader import ScanReader

_EXACT: Final = {2: 2**11, 4: 2**24, 8: 2**32 - 1}
"""By size of the float type in bytes: up to here each id is one of its values (and fits 32 bits)."""


class WholeLabels(ScanReader):
    """A reader of floats that are all whole and 0 or above, as uint32. Raises `InputError` where one is not."""

    dtype = np.dtype(np.uint32)

    def __init__(self, reader: ScanReader) -> None:
        self._reader = reader
        self._highest = _EXACT[reader.dtype.itemsize]
        self.shape, self.spacing, self.chunk_depth = reader.shape, reader.spacing, reader.chunk_depth
        self.description, self.is_label = reader.description, reader.is_label
        self.notes, self.spacing_doubt = reader.notes, reader.spacing_doubt

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        labels = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for z, values in enumerate(self._reader.read(start, stop)):
            low, high = values.min(), values.max()
            if not (low >= 0 and high <= self._highest and np.array_equal(values, np.rint(values))):
                raise InputError(
                    f"{self.description}: slice {start + z} of {self._reader.dtype} from {low:g} to {high:g}; labels "
                    f"must be whole numbers from 0 to {self._highest}; convert them to integers"
                )
            labels[z] = values
        return labels

    def close(self) -> None:  # noqa: D102
        self._reader.close()


def as_labels(reader: ScanReader) -> ScanReader:
    """Return `reader`, delivering integers: itself, or its floats as whole numbers."""
    return WholeLabels(reader) if reader.dtype.kind == "f" else reader
