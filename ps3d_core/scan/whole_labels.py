"""Ids that a program stored as floats, as the whole numbers that they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.reader import DerivedReader, ScanReader

_EXACT: Final = {2: 2**11, 4: 2**24, 8: 2**32 - 1}
"""By size of the float type in bytes: up to here each id is one of its values (and fits 32 bits)."""


class WholeLabels(DerivedReader):
    """A reader of floats that are all whole and 0 or above, as uint32. Raises `InputError` where one is not."""

    def __init__(self, floats: ScanReader) -> None:
        super().__init__(floats)
        self.dtype = np.dtype(np.uint32)
        self._highest = _EXACT[floats.dtype.itemsize]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        labels = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for z, values in enumerate(self._whole.read(start, stop)):
            low, high = values.min(), values.max()
            if not (low >= 0 and high <= self._highest and np.array_equal(values, np.rint(values))):
                raise InputError(
                    f"{self.description}: slice {start + z} of {self._whole.dtype} from {low:g} to {high:g}; labels "
                    f"must be whole numbers from 0 to {self._highest}; convert them to integers"
                )
            labels[z] = values
        return labels


def as_labels(reader: ScanReader) -> ScanReader:
    """Return `reader`, delivering integers: itself, or its floats as whole numbers."""
    return WholeLabels(reader) if reader.dtype.kind == "f" else reader
