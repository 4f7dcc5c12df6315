"""One TIFF file that holds all slices: plain, Big, tiled, compressed, or an ImageJ stack under a single page.

Voxels that lie contiguously are read straight into place; mapping the file would do the same and count every page
touched as memory of this process. Everything else is decoded page by page.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.scan.files import fill_from, open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.suffixes import TIFF_SUFFIXES
from ps3d_core.scan.tiff_axes import axes_note, check_order, volume_shape
from ps3d_core.scan.tiff_page import PageKind, check_directories, check_whole, decode, kind_of, open_tiff, reading
from ps3d_core.scan.tiff_spacing import tiff_spacing
from ps3d_core.store.location import Location

WORKERS = 2
_NAMED = 6


class TiffStack(ScanReader):
    """A multi-page TIFF as one volume. Other files that its metadata may refer to are not followed."""

    suffixes = TIFF_SUFFIXES

    def __init__(self, location: Location) -> None:
        self._name = str(location)
        self._file = open_to_read(location)
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(WORKERS, "pages")
        try:
            self._tif = open_tiff(self._file, self._name)
            self._tif.filehandle.set_lock(True)
            self._open()
        except BaseException:
            self.close()
            raise
        self.description = f"TIFF file {location.name} of {self.shape[0]} slices"

    def _open(self) -> None:
        size = size_of(self._file)
        with reading(self._name):
            check_directories(self._tif, size, self._name)
            kind = _kind_of_all(self._tif, self._name)
            one_by_one = _written_one_by_one(self._tif, self._name)
            series = self._tif.series[0] if one_by_one else _only_series(self._tif, self._name)
            shape = (len(one_by_one), *one_by_one[0].shape) if one_by_one else volume_shape(series, self._name)
            self.shape = scan_shape(shape, self._name)
            self.dtype = kind.dtype
            self.spacing, self.spacing_doubt = tiff_spacing(self._tif)
            self.notes = (*kind.notes, *filter(None, (axes_note(series), self.spacing_doubt)))
            self._offset = None if one_by_one else series.dataoffset
            self._pages: list[TiffPage | TiffFrame] = []
            if self._offset is None:
                self._pages = one_by_one or [page for page in series if page is not None]
            self._check_promised(size)
        if self._offset is not None:
            if self._offset + series.nbytes > size:
                raise InputError(
                    f"{self._name}: truncated, {size} bytes do not hold {self.shape[0]} slices of "
                    f"{self.shape[1]} x {self.shape[2]} {self.dtype}; restore the file or export it again"
                )
            return
        if len(self._pages) != self.shape[0]:
            raise InputError(
                f"{self._name}: {len(self._pages)} pages for {self.shape[0]} slices; must be one page per slice; "
                "export as a plain multi-page TIFF"
            )
        for index, page in enumerate(self._pages):
            if page.parent is not self._tif:
                raise InputError(f"{self._name}: slice {index} lies in another file; give the folder of all slices")
            check_whole(page, size, f"{self._name} page {index}")
            if page.shape != self.shape[1:]:
                raise InputError(
                    f"{self._name}: page {index} of {shape_text(page.shape)}; must be {shape_text(self.shape[1:])}; "
                    "export as a plain multi-page TIFF"
                )

    def _check_promised(self, size: int) -> None:
        """Raise `InputError` when the file holds more slices than its description promises."""
        pages = sum(not (isinstance(page, TiffPage) and page.is_reduced) for page in self._tif.pages)
        if self._offset is not None and len(self._tif.pages) == 1:  # all slices lie behind the only page
            bytes_of_slice = prod(self.shape[1:]) * self.dtype.itemsize
            whole, rest = divmod(size - self._offset, bytes_of_slice)
            pages = 0 if rest else whole
        if pages > self.shape[0]:
            raise InputError(
                f"{self._name}: {pages} slices where its metadata promise {self.shape[0]}; correct the metadata, or "
                "export the scan as a plain multi-page TIFF"
            )

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if self._offset is None:
            list(self._threads.map(lambda index: self._decode_into(slab[index - start], index), range(start, stop)))
            return slab
        with self._lock:
            self._file.seek(self._offset + start * slab[0].nbytes)
            if not fill_from(self._file, slab):
                raise InputError(f"{self._name}: ended while being read; is it still being written? try again later")
        if self._tif.byteorder != _NATIVE:
            slab.byteswap(inplace=True)
        return slab

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)
        self._file.close()

    def _decode_into(self, target: npt.NDArray[Any], index: int) -> None:
        target[...] = decode(self._pages[index], f"{self._name} page {index}")


def _kind_of_all(tif: TiffFile, name: str) -> PageKind:
    """The kind of all pages. Looked at one by one: tifffile takes a long series for uniform after looking at a few."""
    kinds: dict[tuple[int, PageKind], None] = {}
    for page in tif.pages:
        if isinstance(page, TiffPage) and not page.is_reduced:
            kinds[page.hash, kind_of(page, name)] = None
    if len(kinds) > 1:
        raise _unlike([str(kind) for _, kind in kinds], name)
    return next((kind for _, kind in kinds), kind_of(tif.pages.first, name))


def _unlike(kinds: Sequence[str], name: str) -> InputError:
    shown = ", ".join(sorted(set(kinds)))[:100]
    if len(set(kinds)) == 1:
        return InputError(
            f"{name}: pages of {shown} stored in {len(kinds)} ways; must be alike; export the slices alike"
        )
    return InputError(f"{name}: pages of {len(kinds)} kinds ({shown}); must be alike; export the slices alike")


def _written_one_by_one(tif: TiffFile, name: str) -> list[TiffPage | TiffFrame]:
    """All pages, in order, when each was written as a picture of its own; else none.

    tifffile's writer describes what is handed to it at once, so slices that come one after the other are as many
    series. What was written as several volumes is none of this: which of them is the scan, nobody can tell.
    """
    series = tif.series
    if len(series) < 2 or any(one.kind != "shaped" or len(one) != 1 for one in series):
        return []
    for one in series:
        check_order(one.axes, one.shape, name)
    pages = [page for one in series for page in one if page is not None]
    return pages if len(pages[0].shape) == 2 and len(pages) == len(tif.pages) else []


def _only_series(tif: TiffFile, name: str) -> TiffPageSeries:
    series = tif.series
    if len(series) != 1:
        shapes = ", ".join(shape_text(one.shape) for one in series[:_NAMED])
        more = f" and {len(series) - _NAMED} more" if len(series) > _NAMED else ""
        raise InputError(
            f"{name}: {len(series)} volumes in one file ({shapes}{more}); save the scan as a file of its own"
        )
    promised = (tif.imagej_metadata or {}).get("images", 1)
    if series[0].kind != "imagej" and isinstance(promised, int) and promised > len(tif.pages):
        raise InputError(f"{name}: truncated, ImageJ metadata promise {promised} slices; restore the file")
    return series[0]


_NATIVE = "<" if np.little_endian else ">"
