"""Grey values that are no numbers, or infinite, replaced by one that is: outside of a reconstruction, mostly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from ps3d_core.errors import InputError
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.reader import DerivedReader, ScanReader
from ps3d_core.scan.slabs import read_ahead
from ps3d_core.source_texts import parsed_nan

_SAMPLED: Final = 16
"""Slices from which the background is told."""
_MOST_VALUES: Final = 2**20
"""Of each of these slices."""


class WithoutNan(DerivedReader):
    """Another volume, which it owns, with `value` in the place of what is not finite."""

    def __init__(self, whole: ScanReader, value: float) -> None:
        super().__init__(whole)
        with np.errstate(over="ignore"):
            self._value = whole.dtype.type(value)
        if not np.isfinite(self._value):
            raise InputError(f"{value:g}: more than {whole.dtype} holds", "give another value with <nan>")
        self._replaced: dict[int, int] = {}

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = self._whole.read(start, stop)
        for index, values in enumerate(slab, start):
            wrong = ~np.isfinite(values)
            if count := int(np.count_nonzero(wrong)):
                values[wrong] = self._value
                self._replaced[index] = count
        return slab

    @property
    def findings(self) -> tuple[str, ...]:
        """How many voxels were replaced so far, in which slices, and by what."""
        if not self._replaced:
            return self._whole.findings
        first, last, count = min(self._replaced), max(self._replaced), sum(self._replaced.values())
        share = count / np.prod(self.shape, dtype=float)
        return (
            *self._whole.findings,
            f"{count} voxels ({share:.2%}) in {len(self._replaced)} slices, {first} to {last}, were no finite numbers; "
            f"they are {self._value:g} now",
        )


def without_nan(reader: ScanReader, text: str, progress: Progress = SILENT) -> ScanReader:
    """Return `reader` with what a text says in the place of values that are not finite: a number, min or background.

    min reads the whole volume once. background is the median of the darker of two classes of grey values, parted by
    Otsu's threshold (Otsu 1979) in slices over the whole volume. Raise `InputError` when there is no finite value.
    """
    if reader.dtype.kind != "f":
        return reader
    said = parsed_nan(text)
    if said == "min":
        value = _least(reader, progress)
    elif said == "background":
        value = _background(reader)
    else:
        value = float(said)
    return WithoutNan(reader, value)


def _least(reader: ScanReader, progress: Progress) -> float:
    least = np.inf
    with progress.stage("find the least grey value", reader.shape[0], "slices") as stage:
        for _, slab in read_ahead(reader, max(1, reader.chunk_depth)):
            least = min(least, float(np.min(slab, where=np.isfinite(slab), initial=np.inf)))
            stage.advance(len(slab))
    return _found(least, reader)


def _background(reader: ScanReader) -> float:
    sampled = {round(index * (reader.shape[0] - 1) / _SAMPLED) for index in range(_SAMPLED + 1)}
    finite = np.concatenate([_finite(reader, index) for index in sorted(sampled)])
    if not finite.size:
        return _found(np.inf, reader)
    if finite.min() == finite.max():
        return float(finite[0])
    return float(np.median(finite[finite <= _otsu(finite)]))


def _otsu(values: npt.NDArray[Any]) -> float:
    return float(threshold_otsu(values))  # type: ignore[no-untyped-call]


def _finite(reader: ScanReader, index: int) -> npt.NDArray[Any]:
    values = reader.read(index, index + 1).reshape(-1)
    values = values[:: max(1, len(values) // _MOST_VALUES)]
    return np.extract(np.isfinite(values), values)


def _found(value: float, reader: ScanReader) -> float:
    if not np.isfinite(value):
        raise InputError(f"{reader.description}: no grey value is a finite number", "give a number with <nan>")
    return value
