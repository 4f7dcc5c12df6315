"""One TIFF page: is it a grey slice, is all of it in the file, and its voxels.

tifffile forgives much (it pads what is missing, skips directories that lie beyond the end and logs it), which is
right for looking at a file and wrong for measuring in it. Here a file that is not whole is an error.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from tifffile import TiffFile, TiffFrame, TiffPage

from ps3d_core.errors import InputError, StoreError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.store.ome import Spacing

# What tifffile is unsure of it logs; without a handler that would end up on a user's screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_UNDECODABLE: Final = (
    ValueError,
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AssertionError,
    struct.error,
)
_MM_PER_UNIT: Final = {
    "nm": 1e-6,
    "nanometer": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "\\u00b5m": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "m": 1000.0,
    "inch": 25.4,
    "inches": 25.4,
}


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes tifffile raise into one `InputError` that names the file."""
    try:
        yield
    except (InputError, StoreError):
        raise
    except _UNDECODABLE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: damaged or not a TIFF ({reason}); restore the file or export it again") from error


def check_grey(page: TiffPage, name: str) -> None:
    """Raise `InputError` for colour and multi-channel pages."""
    if page.samplesperpixel != 1:
        kind = "RGB" if page.photometric in {2, 6} else "multi-channel"
        raise InputError(
            f"{name}: {kind}, {page.samplesperpixel} values per pixel; must be 1 grey value; convert to greyscale"
        )


def check_whole(page: TiffPage | TiffFrame, file_size: int, name: str) -> None:
    """Raise `InputError` when strips or tiles of the page are absent or lie beyond the end of the file."""
    keyframe = page.keyframe
    if keyframe is None:
        raise InputError(f"{name}: a page without its description; restore the file or export it again")
    with reading(name):
        if page.is_contiguous:
            whole = page.dataoffsets[0] + keyframe.nbytes <= file_size
        else:
            places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
            whole = len(places) >= prod(keyframe.chunked) and all(
                offset > 0 and count > 0 and offset + count <= file_size for offset, count in places
            )
    if not whole:
        raise InputError(
            f"{name}: truncated, {file_size} bytes do not hold {shape_text(keyframe.shape)} voxels of "
            f"{keyframe.dtype}; restore the file or export it again"
        )


def check_directories(tif: TiffFile, file_size: int, name: str) -> None:
    """Raise `InputError` when the chain of page directories leaves the file or is longer than tifffile follows."""
    file, form = tif.filehandle, tif.tiff
    file.seek(4 if not tif.is_bigtiff else 8)
    seen: set[int] = set()
    while True:
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        if offset == 0:
            break
        damaged = offset in seen or offset + form.tagnosize > file_size
        if not damaged:
            seen.add(offset)
            file.seek(offset)
            (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
            after = offset + form.tagnosize + tags * form.tagsize
            damaged = after + form.offsetsize > file_size
            file.seek(after)
        if damaged:
            raise InputError(
                f"{name}: truncated, page {len(seen) + 1} lies beyond the end of the file ({file_size} bytes); "
                "restore the file or export it again"
            )
    if len(seen) != len(tif.pages):
        raise InputError(f"{name}: {len(tif.pages)} of {len(seen)} pages are readable; restore the file")


def decode(page: TiffPage | TiffFrame, name: str) -> npt.NDArray[Any]:
    """The page's values as stored (no inversion, no palette), in native byte order."""
    with reading(name):
        values = np.asarray(page.asarray(maxworkers=1))
        if values.shape != page.shape:
            raise ValueError(f"decoded to {values.shape} instead of {page.shape}")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def tiff_spacing(tif: TiffFile) -> Spacing | None:
    """Spacing in mm from the metadata of ImageJ or of this project.

    Bare resolution tags are not believed: most programs write a default there.
    """
    own = (tif.shaped_metadata or [{}])[0]
    lengths: list[float] = []
    try:
        if tif.imagej_metadata:
            meta = tif.imagej_metadata
            across = [tif.pages.first.tags[tag].value for tag in ("YResolution", "XResolution")]
            lengths = [float(meta["spacing"]), *(denominator / numerator for numerator, denominator in across)]
        elif "spacing" in own:
            meta, lengths = own, [float(length) for length in own["spacing"]]
        else:
            return None
        unit = _MM_PER_UNIT[str(meta["unit"]).lower()]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    z, y, x = (length * unit for length in lengths)
    return (z, y, x) if all(np.isfinite((z, y, x))) and min(z, y, x) > 0 else None


def open_tiff(file: BinaryIO, name: str) -> TiffFile:
    """tifffile's view of an open file."""
    with reading(name):
        return TiffFile(file, name=name)
