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
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.params import SourceParams
from ps3d_core.scan.files import fill_from, open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.scanner_logs import logged_beside, logs_beside, take_logged
from ps3d_core.scan.suffixes import TIFF_SUFFIXES
from ps3d_core.scan.tiff_axes import Planes, check_order, planes_of
from ps3d_core.scan.tiff_page import PageKind, check_directories, check_whole, decode, kind_of, open_tiff, reading
from ps3d_core.scan.tiff_spacing import files_named, planes_promised, tiff_spacing
from ps3d_core.store.location import Location

WORKERS = 2
_NAMED = 6
_MOST_PROMISED = 1000
"""Planes for each page that metadata may promise; tifffile makes a list of all of them."""


class TiffStack(ScanReader):
    """A multi-page TIFF as one volume. Other files that its metadata may refer to are not followed."""

    suffixes = TIFF_SUFFIXES
    takes = frozenset({"channel", "time", "channels_are_slices"})

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open a file, with the spacing of the log beside it where it states none itself."""
        reader = cls(location, params)
        reader.beside = logs_beside(location)
        take_logged(reader, logged_beside(reader.beside, reader.shape))
        return reader

    def __init__(self, location: Location, params: SourceParams | None = None, *, is_part: bool = False) -> None:
        self._name, self._is_part = str(location), is_part
        self._params = params or SourceParams()
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
            self.kind = _kind_of_all(self._tif, self._name)
            self.dtype = self.kind.dtype
            self.ome_xml = self._tif.ome_metadata or "" if self._tif.is_ome else ""
            self._check_planes()
            one_by_one = self._pages_alone()
            series = None if one_by_one else _only_series(self._tif, self._name)
            self._planes = _planes(one_by_one, series, self._params, self._name)
            self.shape = self._checked(self._planes.shape)
            self.spacing, self.spacing_doubt = tiff_spacing(self._tif)
            self.notes = (*self.kind.notes, *filter(None, (self._planes.note, self.spacing_doubt)))
            self._offset = series.dataoffset if series is not None else None
            self._pages: list[TiffPage | TiffFrame] = []
            if self._offset is None:
                self._pages = one_by_one or [page for page in series or () if page is not None]
            self._check_promised(size)
        if self._offset is not None and series is not None:
            if self._offset + series.nbytes > size:
                raise InputError(
                    f"{self._name}: truncated, {size} bytes do not hold {self._planes.of} slices of "
                    f"{self.shape[1]} x {self.shape[2]} {self.dtype}; restore the file or export it again"
                )
            return
        self._check_pages(size)

    def _check_planes(self) -> None:
        """Raise `InputError` when OME-XML promises so many planes that a list of them alone would fill the memory."""
        if (promised := planes_promised(self.ome_xml)) > _MOST_PROMISED * (len(self._tif.pages) + 1):
            raise InputError(
                f"{self._name}: its OME-XML promises {promised} planes, it has {len(self._tif.pages)} pages; restore "
                "the file or export it again"
            )

    def _pages_alone(self) -> list[TiffPage | TiffFrame]:
        """All pages, in order, where each is to be taken by itself; else none."""
        if len(files_named(self.ome_xml)) > 1:
            if not self._is_part:
                raise InputError(f"{self._name}: some slices lie in other files; give the folder of all of them")
            return [page for page in self._tif.pages if not (isinstance(page, TiffPage) and page.is_reduced)]
        return _written_one_by_one(self._tif, self._name)

    def _checked(self, shape: tuple[int, ...]) -> Shape:
        if self._is_part and len(shape) == 3 and shape[0] == 1:
            return 1, *scan_shape((2, *shape[1:]), self._name)[1:]
        return scan_shape(shape, self._name)

    def _check_pages(self, size: int) -> None:
        if len(self._pages) != self._planes.of:
            raise InputError(
                f"{self._name}: {len(self._pages)} pages for {self._planes.of} slices; must be one page per slice; "
                "export as a plain multi-page TIFF"
            )
        places: dict[tuple[int, ...], int] = {}
        for index, page in enumerate(self._pages):
            check_whole(page, size, f"{self._name} page {index}")
            if page.shape != self.shape[1:]:
                raise InputError(
                    f"{self._name}: page {index} of {shape_text(page.shape)}; must be {shape_text(self.shape[1:])}; "
                    "export as a plain multi-page TIFF"
                )
            with reading(self._name):
                other = places.setdefault(tuple(page.dataoffsets), index)
            if other != index:
                raise InputError(
                    f"{self._name}: slices {other} and {index} are the same voxels of the file; restore the file or "
                    "export it again"
                )

    def _check_promised(self, size: int) -> None:
        """Raise `InputError` when the file holds more slices than its description promises."""
        pages = sum(not (isinstance(page, TiffPage) and page.is_reduced) for page in self._tif.pages)
        if self._offset is not None and len(self._tif.pages) == 1:  # all slices lie behind the only page
            bytes_of_slice = prod(self.shape[1:]) * self.dtype.itemsize
            whole, rest = divmod(size - self._offset, bytes_of_slice)
            pages = 0 if rest else whole
        if pages > self._planes.of:
            raise InputError(
                f"{self._name}: {pages} slices where its metadata promise {self._planes.of}; correct the metadata, or "
                "export the scan as a plain multi-page TIFF"
            )

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        chosen = self._planes.chosen[start:stop]
        if self._offset is None:
            list(self._threads.map(self._decode_into, slab, chosen))
            return slab
        with self._lock:
            if self._planes.is_all:
                self._fill(slab, start)
            else:
                for values, plane in zip(slab, chosen, strict=True):
                    self._fill(values, int(plane))
        if self._tif.byteorder != _NATIVE:
            slab.byteswap(inplace=True)
        return slab

    def _fill(self, values: npt.NDArray[Any], plane: int) -> None:
        bytes_of_plane = prod(self.shape[1:]) * self.dtype.itemsize
        self._file.seek((self._offset or 0) + plane * bytes_of_plane)
        if not fill_from(self._file, values):
            raise InputError(f"{self._name}: ended while being read; is it still being written? try again later")

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)
        self._file.close()

    def _decode_into(self, target: npt.NDArray[Any], plane: int) -> None:
        target[...] = decode(self._pages[plane], f"{self._name} page {plane}")


def _planes(
    pages: Sequence[TiffPage | TiffFrame], series: TiffPageSeries | None, params: SourceParams, name: str
) -> Planes:
    if series is not None:
        return planes_of(series, params, name)
    for option in ("channel", "time"):
        if getattr(params, option):
            raise InputError(f"{name}: no {option} {getattr(params, option)}, there is one", f"leave out <{option}>")
    return Planes((len(pages), *pages[0].shape), np.arange(len(pages)), len(pages))


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
    held = max(len(tif.pages), series[0].size // max(1, prod(tif.pages.first.shape)))  # all may lie behind one page
    if isinstance(promised, int) and promised > held:
        raise InputError(f"{name}: truncated, ImageJ metadata promise {promised} slices; restore the file")
    return series[0]


_NATIVE = "<" if np.little_endian else ">"
