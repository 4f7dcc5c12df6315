"""A slice as a TIFF file of one page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import numpy.typing as npt
from tifffile import TiffFile, TiffPage

from ps3d_core.errors import InputError
from ps3d_core.scan.files import size_of
from ps3d_core.scan.slice_format import OpenSlice, SliceFormat
from ps3d_core.scan.suffixes import TIFF_SUFFIXES
from ps3d_core.scan.tiff_axes import check_picture
from ps3d_core.scan.tiff_page import check_whole, decode, kind_of, open_tiff, reading


class _TiffSlice(OpenSlice):
    def __init__(self, page: TiffPage, file_size: int, name: str) -> None:
        self._page, self._name = page, name
        self.kind = kind_of(page, name)
        if len(self.kind.shape) != 2:
            raise InputError(f"{name}: {len(self.kind.shape)} axes in one slice; must be rows and columns; split it")
        check_picture(page, name)
        check_whole(page, file_size, name)

    def decode(self) -> npt.NDArray[Any]:
        return decode(self._page, self._name)


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[OpenSlice]:
    with open_tiff(file, name) as tif:
        pages = full_pages(tif, name)
        if not pages:
            raise InputError(f"{name}: truncated or damaged, no page can be read; restore the file")
        if len(pages) != 1:
            raise InputError(f"{name}: {len(pages)} pages in one slice; must be 1; move it elsewhere or split it")
        yield _TiffSlice(pages[0], size_of(file), name)


def full_pages(tif: TiffFile, name: str) -> list[TiffPage]:
    """Return the pages in full resolution."""
    with reading(name):
        return [page for page in tif.pages if isinstance(page, TiffPage) and not page.is_reduced]


TIFF: Final = SliceFormat("TIFF", TIFF_SUFFIXES, _opened)
