"""A folder of TIFF slices, one file per slice."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import TiffPage

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.slice_names import check_numbering, natural_order
from ps3d_core.scan.tiff_page import check_grey, check_whole, decode, open_tiff, reading
from ps3d_core.store.location import Location

TIFF_ENDINGS = (".tif", ".tiff")
LOCAL_WORKERS, REMOTE_WORKERS = 2, 16  # decoding is bound by cores, fetching by latency

Header = tuple[tuple[int, ...], np.dtype[Any]]


class TiffSlices(ScanReader):
    """Slices in natural order of their names.

    Files in the folder that are no TIFF, and hidden ones, are left aside. On a local folder the header of every slice
    is checked before anything is read; elsewhere each slice is checked as it is fetched, which costs one request.
    """

    def __init__(self, folder: Location, *, allow_gaps: bool = False) -> None:
        self._folder = folder
        self._names = slice_names(folder)
        if not self._names:
            raise InputError(f"{folder}: no TIFF slices (*.tif, *.tiff) here; give the folder that holds them")
        if not allow_gaps:
            check_numbering(self._names, str(folder))
        remote = folder.local_path is None
        self._threads = ThreadPoolExecutor(REMOTE_WORKERS if remote else LOCAL_WORKERS, "slices")
        try:
            self._like = self._header(self._names[0])
            (height, width), self.dtype = self._like
            self.shape = scan_shape((len(self._names), height, width), str(folder))
            if not remote:
                list(self._threads.map(self._check, self._names))
        except BaseException:
            self.close()
            raise
        self.description = f"{len(self._names)} TIFF slices, {self._names[0]} to {self._names[-1]}"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)

        def load(index: int) -> None:
            name = self._names[index]
            with self._page(name) as page:
                self._compare(name, _header(page, self._full(name)))
                slab[index - start] = decode(page, self._full(name))

        list(self._threads.map(load, range(start, stop)))
        return slab

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)

    def _check(self, name: str) -> None:
        self._compare(name, self._header(name))

    def _header(self, name: str) -> Header:
        with self._page(name) as page:
            return _header(page, self._full(name))

    def _compare(self, name: str, header: Header) -> None:
        if header != self._like:
            raise InputError(
                f"{self._full(name)}: {_in_words(header)}; must be {_in_words(self._like)} like {self._names[0]}; "
                "remove it or export all slices alike"
            )

    @contextmanager
    def _page(self, name: str) -> Iterator[TiffPage]:
        location = self._folder / name
        file = open_to_read(location) if location.local_path else io.BytesIO(location.read_bytes())
        with file, open_tiff(file, str(location)) as tif:
            with reading(str(location)):
                pages = [page for page in tif.pages if isinstance(page, TiffPage) and not page.is_reduced]
            if not pages:
                raise InputError(f"{location}: truncated or damaged, no page can be read; restore the file")
            if len(pages) != 1 or len(pages[0].shape) > 2 + (pages[0].samplesperpixel > 1):
                raise InputError(
                    f"{location}: {len(pages)} pages in one slice; must be 1; ingest the file itself, not its folder"
                )
            check_grey(pages[0], str(location))
            check_whole(pages[0], size_of(file), str(location))
            yield pages[0]

    def _full(self, name: str) -> str:
        return str(self._folder / name)


def slice_names(folder: Location) -> list[str]:
    """TIFF files in `folder` in natural order, without hidden ones."""
    names = (name for name in folder.children() if not name.startswith("."))
    return natural_order(name for name in names if name.lower().endswith(TIFF_ENDINGS))


def _header(page: TiffPage, name: str) -> Header:
    if page.dtype is None:
        raise InputError(f"{name}: voxels of {page.bitspersample} bits in an unknown format; convert to 8 or 16 bits")
    return page.shape, scan_dtype(page.dtype, name)


def _in_words(header: Header) -> str:
    shape, dtype = header
    return f"{shape_text(shape)} {dtype}"
