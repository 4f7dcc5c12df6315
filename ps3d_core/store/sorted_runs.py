"""Rows of many blocks in the order of their keys: external sorting, of which the blocks have done the first half.

What a block leaves is a run: rows in rising order of a key. Runs are added one after the other, each once, and wait in
a temporary file until they are asked for by ranges of keys, of which each is a slice of each run. So everything is read
once from the store and about once from the file, whatever the order of keys over the blocks, and what is held is one
range of rows, and the key of every `STRIDE`-th row.

Few rows stay in memory. The file has no name: nothing of it is left when the process ends, however it does.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.store.location import Location, writing_to

Arrays = Mapping[str, npt.NDArray[Any]]

HELD_BYTES: Final = 2**26
"""Rows that stay in memory; of more, all go to a file."""
STRIDE: Final = 64
"""Of the rows of a run the key of every so many is known: ranges are found, and made, as exactly as that."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Where the rows of a run lie, how many of what type, the keys of some of them, and what goes with all of them."""

    start: int
    rows: int
    type: np.dtype[Any]
    keys: npt.NDArray[Any]
    last: int
    beside: Arrays


class SortedRuns:
    """Rows with a key, a whole number, run by run; each run is in rising order of it."""

    def __init__(self, key: str, beside: Collection[str] = ()) -> None:
        """Hold no run yet.

        Args:
            key: name of the array that rows are in order of, of one type in all runs.
            beside: names of arrays that have no element per row, but go with all rows of a run.

        """
        self._key, self._beside = key, beside
        self._runs: list[_Run] = []
        self._types: dict[np.dtype[Any], np.dtype[Any]] = {}
        self._end = 0
        self._file = SpooledTemporaryFile(HELD_BYTES)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, _close, self._file)

    def add(self, arrays: Arrays) -> None:
        """Take in a run: arrays (n, ...) by name, and those that go with all its rows."""
        keys = arrays[self._key]
        if not len(keys):
            return
        rows = {name: array for name, array in arrays.items() if name not in self._beside}
        kind = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in rows.items()], align=True)
        kind = self._types.setdefault(kind, kind)  # of many small runs it would take more than their rows
        packed = np.empty(len(keys), kind)
        for name, array in rows.items():
            packed[name] = array
        with writing_to(Location.parse(gettempdir())):
            self._file.seek(self._end)
            self._file.write(packed.tobytes())
            self._file.flush()  # what finds no room is said here
        beside = {name: arrays[name] for name in self._beside}
        self._runs.append(_Run(self._end, len(keys), kind, keys[::STRIDE].copy(), int(keys[-1]), beside))
        self._end += packed.nbytes

    def batches(self, rows: int) -> Iterator[Arrays]:
        """Yield all rows as they were added, `rows` at a time: where a run ends does not show. All are of one type."""
        if not self._runs:
            return
        whole = replace(self._runs[0], rows=sum(run.rows for run in self._runs))
        for start in range(0, whole.rows, rows):
            yield self._rows(whole, start, min(start + rows, whole.rows))

    def between(self, first: int, last: int) -> Iterator[Arrays]:
        """Yield the rows with keys from `first` to `last`, both included, of each run that has any."""
        for run in self._runs:
            if run.last < first or last < int(run.keys[0]):
                continue
            low, high = run.keys.dtype.type(max(first, int(run.keys[0]))), run.keys.dtype.type(min(last, run.last))
            start = STRIDE * max(0, int(np.searchsorted(run.keys, low, "left")) - 1)
            stop = min(run.rows, STRIDE * int(np.searchsorted(run.keys, high, "right")))
            rows = self._rows(run, start, stop)
            own = rows[self._key]
            found = slice(int(np.searchsorted(own, low, "left")), int(np.searchsorted(own, high, "right")))
            if found.start < found.stop:
                yield {**{name: array[found] for name, array in rows.items()}, **run.beside}

    def ranges(self, rows: int) -> Iterator[list[Arrays]]:
        """Yield all rows, range by range of their keys in rising order: of each range the rows of each run.

        A range has about `rows` rows, and at most `STRIDE` more of each run; equal keys are in one range.
        """
        if not self._runs:
            return
        keys = np.sort(np.concatenate([run.keys for run in self._runs]))
        starts = np.unique(keys[:: max(1, rows // STRIDE)]).tolist()
        lasts = [start - 1 for start in starts[1:]] + [max(run.last for run in self._runs)]
        for first, last in zip(starts, lasts, strict=True):
            yield list(self.between(first, last))

    def _rows(self, run: _Run, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
        size = run.type.itemsize
        self._file.seek(run.start + start * size)
        packed = np.frombuffer(self._file.read((stop - start) * size), run.type)
        return {name: packed[name] for name in packed.dtype.names or ()}


def _close(file: SpooledTemporaryFile[bytes]) -> None:
    with suppress(OSError):  # of a write that has failed and been told of before
        file.close()
