"""A folder of slices, one file per slice, of any format of pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.slice_format import OpenSlice, SliceFormat, SliceKind
from ps3d_core.store.location import Location

LOCAL_WORKERS, REMOTE_WORKERS = 2, 16  # decoding is bound by cores, fetching by latency


class Slices(ScanReader):
    """The slices `names` of `folder`, in this order, all of one format.

    On a local folder the header of every slice is checked before anything is read; elsewhere each slice is checked as
    it is fetched, which costs one request.
    """

    def __init__(self, folder: Location, names: Sequence[str], form: SliceFormat) -> None:
        self._folder, self._names, self._form = folder, names, form
        remote = folder.local_path is None
        self._threads = ThreadPoolExecutor(REMOTE_WORKERS if remote else LOCAL_WORKERS, "slices")
        try:
            with self._slice(names[0]) as first:
                self._like: SliceKind = first.kind
            self.dtype = self._like.dtype
            self.shape = scan_shape((len(names), *self._like.shape), str(folder))
            if not remote:
                list(self._threads.map(self._check, names))
        except BaseException:
            self.close()
            raise
        self.notes = self._like.notes
        self.description = f"{len(names)} {form.name} slices, {names[0]} to {names[-1]}"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)

        def load(index: int) -> None:
            name = self._names[index]
            with self._slice(name) as one:
                self._compare(name, one.kind)
                slab[index - start] = one.decode()

        list(self._threads.map(load, range(start, stop)))
        return slab

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)

    def _check(self, name: str) -> None:
        with self._slice(name) as one:
            self._compare(name, one.kind)

    def _compare(self, name: str, kind: SliceKind) -> None:
        if kind != self._like:
            raise InputError(
                f"{self._folder / name}: {kind}; must be {self._like} like {self._names[0]}; remove it or export all "
                "slices alike"
            )

    @contextmanager
    def _slice(self, name: str) -> Iterator[OpenSlice]:
        location = self._folder / name
        file = open_to_read(location) if location.local_path else io.BytesIO(location.read_bytes())
        with file, self._form.opened(file, str(location)) as one:
            yield one
