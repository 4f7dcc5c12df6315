"""A folder of TIFF slices, one file per slice."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from tifffile import TiffFile, TiffPage

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.slice_names import natural_order, one_series, unread_beside
from ps3d_core.scan.suffixes import TIFF_SUFFIXES
from ps3d_core.scan.tiff_axes import check_picture
from ps3d_core.scan.tiff_page import PageKind, check_whole, decode, kind_of, open_tiff, reading
from ps3d_core.scan.tiff_stack import TiffStack
from ps3d_core.store.location import Location

LOCAL_WORKERS, REMOTE_WORKERS = 2, 16  # decoding is bound by cores, fetching by latency


class TiffSlices(ScanReader):
    """The slices `names` of `folder`, in this order.

    On a local folder the header of every slice is checked before anything is read; elsewhere each slice is checked as
    it is fetched, which costs one request.
    """

    takes = frozenset({"series"})
    is_last = True

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a folder, of whatever, is at `location`: what it lacks is said when it is opened."""
        return children is not None

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open the one scan in a folder, or the series of several; see `one_series`."""
        names: Sequence[str] = slice_names(location)
        if not names and (location / "images").is_dir():
            raise InputError(
                f"{location}: a dataset, not one volume; give one of its scans, like "
                f"{location / 'images' / 'NAME.zarr'}"
            )
        if not names:
            raise InputError(f"{location}: no TIFF slices (*.tif, *.tiff) here; give the folder that holds them")
        others = set(location.children()) - set(names)
        names = one_series(names, str(location), series=params.series, allow_gaps=params.allow_gaps)
        reader = TiffStack(location / names[0]) if len(names) == 1 else cls(location, names)
        if unread := unread_beside(names, (name for name in others if not name.startswith("."))):
            reader.notes += (
                f"{len(unread)} files named like its slices are no TIFF files and not read, {unread[0]} the first; are "
                "they slices, too?",
            )
        return reader

    def __init__(self, folder: Location, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = names
        remote = folder.local_path is None
        self._threads = ThreadPoolExecutor(REMOTE_WORKERS if remote else LOCAL_WORKERS, "slices")
        try:
            self._like = self._kind(names[0])
            self.dtype = self._like.dtype
            self.shape = scan_shape((len(names), *self._like.shape), str(folder))
            if not remote:
                list(self._threads.map(self._check, names))
        except BaseException:
            self.close()
            raise
        self.notes = self._like.notes
        self.description = f"{len(names)} TIFF slices, {names[0]} to {names[-1]}"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)

        def load(index: int) -> None:
            name = self._names[index]
            with self._page(name) as page:
                self._compare(name, kind_of(page, self._full(name)))
                slab[index - start] = decode(page, self._full(name))

        list(self._threads.map(load, range(start, stop)))
        return slab

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)

    def _check(self, name: str) -> None:
        self._compare(name, self._kind(name))

    def _kind(self, name: str) -> PageKind:
        with self._page(name) as page:
            return kind_of(page, self._full(name))

    def _compare(self, name: str, kind: PageKind) -> None:
        if kind != self._like:
            raise InputError(
                f"{self._full(name)}: {kind}; must be {self._like} like {self._names[0]}; remove it or export all "
                "slices alike"
            )

    @contextmanager
    def _page(self, name: str) -> Iterator[TiffPage]:
        location = self._folder / name
        with self._open(name) as (file, tif):
            pages = _pages(tif, str(location))
            if not pages:
                raise InputError(f"{location}: truncated or damaged, no page can be read; restore the file")
            if len(pages) != 1:
                raise self._several_pages(name, len(pages))
            kind = kind_of(pages[0], str(location))
            if len(kind.shape) != 2:
                raise InputError(f"{location}: {len(kind.shape)} axes in one slice; must be rows and columns; split it")
            check_picture(pages[0], str(location))
            check_whole(pages[0], size_of(file), str(location))
            yield pages[0]

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[BinaryIO, TiffFile]]:
        location = self._folder / name
        file = open_to_read(location) if location.local_path else io.BytesIO(location.read_bytes())
        with file, open_tiff(file, str(location)) as tif:
            yield file, tif

    def _several_pages(self, name: str, count: int) -> InputError:
        others = (other for other in self._names if other != name)
        for other in islice(others, _LOOKED_AT):
            with suppress(InputError), self._open(other) as (_, tif):
                if len(_pages(tif, other)) > 1:
                    return InputError(
                        f"{self._folder}: several pages each in {name}, {other}: a scan in parts is not joined here; "
                        "save it as one TIFF file or as one file per slice"
                    )
        return InputError(f"{self._full(name)}: {count} pages in one slice; must be 1; move it elsewhere or split it")

    def _full(self, name: str) -> str:
        return str(self._folder / name)


def slice_names(folder: Location) -> list[str]:
    """Return the names of the TIFF files in `folder` in natural order, without hidden ones."""
    names = (name for name in folder.children() if not name.startswith("."))
    return natural_order(name for name in names if name.lower().endswith(TIFF_SUFFIXES))


def _pages(tif: TiffFile, name: str) -> list[TiffPage]:
    """Pages in full resolution."""
    with reading(name):
        return [page for page in tif.pages if isinstance(page, TiffPage) and not page.is_reduced]


_LOOKED_AT = 3
