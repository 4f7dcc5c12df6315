"""One TIFF page: is it a grey slice, is all of it in the file, and its voxels.

tifffile forgives much (it pads what is missing, skips directories that lie beyond the end and logs it), which is
right for looking at a file and wrong for measuring in it. Here a file that is not whole is an error.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from tifffile import TiffFile, TiffFrame, TiffPage

from ps3d_core.errors import InputError, StoreError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.scan.reader import scan_dtype

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
_PHOTOMETRIC_TAG, _ORIENTATION_TAG = 262, 274
_MIN_IS_WHITE, _MIN_IS_BLACK, _PALETTE = 0, 1, 3
_LOSSY: Final = {
    **dict.fromkeys((6, 7, 34892, 33007), "JPEG"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((34927, 50001), "WebP"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    34887: "LERC",
}
"""Ways of packing in which a writer may have traded values for size."""
_LOSSLESS_JPEG: Final = (7,)
_MOST_TILE_BYTES: Final = 64 * 2**20  # a tile may be so large although the page is small


@dataclass(frozen=True, slots=True)
class PageKind:
    """Properties that all pages of one scan have in common; `packing` is how, where that may change grey values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    white_is_zero: bool = False
    has_palette: bool = False
    orientation: int = 1
    packing: str | None = None

    def __str__(self) -> str:
        odd = {"MinIsWhite": self.white_is_zero, "with a colour table": self.has_palette}
        odd[f"orientation {self.orientation}"] = self.orientation != 1
        odd[f"packed as {self.packing}"] = self.packing is not None
        return ", ".join([f"{shape_text(self.shape)} {self.dtype}", *(text for text, so in odd.items() if so)])

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the values that a person should hear of."""
        said = []
        if self.white_is_zero:
            said.append("0 is shown as white (MinIsWhite); values are taken as stored, so what looks bright is low")
        if self.has_palette:
            said.append("its colour table is not applied; values are taken as stored")
        if self.orientation != 1:
            said.append(f"orientation {self.orientation} is not applied; rows and columns are taken as stored")
        if self.packing is not None:
            said.append(f"packed as {self.packing}, maybe with loss: grey values may differ from those of the scanner")
        return tuple(said)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes tifffile raise into one `InputError` that names the file."""
    try:
        yield
    except (InputError, StoreError):
        raise
    except MemoryError as error:
        raise InputError(f"{name}: pages too large for the memory; is it damaged? restore the file") from error
    except _UNDECODABLE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: damaged or not a TIFF ({reason}); restore the file or export it again") from error


def kind_of(page: TiffPage, name: str) -> PageKind:
    """Return what the page holds.

    Raise `InputError` for anything but one grey value (or id) per pixel of a usable type.
    """
    if page.samplesperpixel != 1:
        kind = "RGB" if page.photometric in {2, 6} else "multi-channel"
        raise InputError(
            f"{name}: {kind}, {page.samplesperpixel} values per pixel; must be 1 grey value; convert to greyscale"
        )
    meaning = int(page.photometric) if _PHOTOMETRIC_TAG in page.tags else _MIN_IS_BLACK
    if meaning not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _PALETTE):
        raise InputError(
            f"{name}: values that are no grey values (photometric interpretation {meaning}); convert to greyscale"
        )
    if page.dtype is None:
        raise InputError(f"{name}: voxels of {page.bitspersample} bits in an unknown format; convert to 8 or 16 bits")
    return PageKind(
        page.shape,
        scan_dtype(page.dtype, name),
        white_is_zero=meaning == _MIN_IS_WHITE,
        has_palette=meaning == _PALETTE,
        orientation=_orientation(page),
        packing=_lossy_packing(page),
    )


def _lossy_packing(page: TiffPage) -> str | None:
    """How a page is packed where that may change its values; whether it did, not each of these packings tells."""
    code = int(page.compression)
    if code in _LOSSLESS_JPEG and page.bitspersample > 8:  # of which only the lossless kind has so many bits
        return None
    return _LOSSY.get(code)


def _orientation(page: TiffPage) -> int:
    value = page.tags.valueof(_ORIENTATION_TAG, 1)
    return int(value) if isinstance(value, int) and 1 < value <= 8 else 1


def check_whole(page: TiffPage | TiffFrame, file_size: int, name: str) -> None:
    """Raise `InputError` when strips or tiles of the page are absent or lie beyond the end of the file."""
    keyframe = page.keyframe
    if keyframe is None:
        raise InputError(f"{name}: a page without its description; restore the file or export it again")
    if keyframe.is_tiled and _bytes_of_tile(keyframe) > max(_MOST_TILE_BYTES, 4 * keyframe.nbytes):
        raise InputError(
            f"{name}: tiles of {shape_text(keyframe.tile or ())} voxels for a page of {shape_text(keyframe.shape)}; "
            "damaged? export the file again"
        )
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


def _bytes_of_tile(page: TiffPage) -> int:
    return prod(page.tile or ()) * (page.dtype.itemsize if page.dtype else 1)


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
    """Return the page's values as stored (no inversion, no palette), in native byte order.

    Raise `InputError` when they cannot be decoded.
    """
    with reading(name):
        values = np.asarray(page.asarray(maxworkers=1))
        if values.shape != page.shape:
            raise ValueError(f"decoded to {values.shape} instead of {page.shape}")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def open_tiff(file: BinaryIO, name: str) -> TiffFile:
    """Return tifffile's view of an open file; raise `InputError` when it is damaged or not a TIFF."""
    with reading(name):
        return TiffFile(file, name=name, _multifile=False)  # else it opens files that the metadata name
