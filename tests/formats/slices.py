"""Slices as PNG, BMP, JPEG 2000, and TIFF files of several slices, written by Pillow, imagecodecs and tifffile."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

Encode = Callable[[Volume], bytes]


def by_pillow(form: str, convert: str | None = None) -> Encode:
    """An encoder of slices."""

    def encode(values: Volume) -> bytes:
        image, file = Image.fromarray(values), io.BytesIO()
        (image.convert(convert) if convert else image).save(file, form)
        return file.getvalue()

    return encode


def jpeg2000(values: Volume) -> bytes:
    """A slice as a JP2 file without loss."""
    return imagecodecs.jpeg2k_encode(values, reversible=True, level=0, codecformat="jp2")


def writer(suffix: str, encode: Encode) -> Callable[[Path, Volume, Spacing], Path]:
    """A writer of a folder of slices."""

    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        for index, values in enumerate(volume):
            (folder / f"slice_{index:04d}{suffix}").write_bytes(encode(values))
        return folder

    return write


def read_by_pillow(source: Path) -> Volume:
    """A folder of pictures as Pillow reads them."""
    slices = []
    for path in sorted(source.iterdir()):
        with Image.open(path) as image:
            values = np.asarray(image)
        slices.append(values[..., 0] if values.ndim == 3 else values)
    volume = np.stack(slices)
    return volume.astype(np.uint16) if volume.dtype == np.int32 else volume


def read_jpeg2000(source: Path) -> Volume:
    """A folder of JPEG 2000 pictures as OpenCV's reader of them would: unpacked by imagecodecs."""
    return np.stack([imagecodecs.jpeg2k_decode(path.read_bytes()) for path in sorted(source.iterdir())])


def first_file(count: int) -> Callable[[Path], list[Part]]:
    """The first bytes of the first slice."""

    def parts(source: Path) -> list[Part]:
        file = sorted(source.iterdir())[0]
        return [(file, 0, min(count, file.stat().st_size))]

    return parts


def _parts(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    for index, start in enumerate(range(0, len(volume), 3)):
        part = volume[start : start + 3]
        tifffile.imwrite(folder / f"scan_{index:03d}.tif", part, photometric="minisblack", metadata=None)
    return folder


def _read_parts(source: Path) -> Volume:
    pages = []
    for path in sorted(source.iterdir()):
        with tifffile.TiffFile(path) as tif:
            pages += [page.asarray() for page in tif.pages]
    return np.stack(pages)


FORMATS = [
    FileFormat(
        "PNG slices",
        writer(".png", by_pillow("PNG")),
        read_by_pillow,
        dtypes=("uint8", "uint16"),
        spacing=None,
        headers=first_file(60),
    ),
    FileFormat(
        "BMP slices",
        writer(".bmp", by_pillow("BMP")),
        read_by_pillow,
        dtypes=("uint8",),
        spacing=None,
        headers=first_file(1078),
    ),
    FileFormat(
        "BMP slices, grey as RGB",
        writer(".bmp", by_pillow("BMP", "RGB")),
        read_by_pillow,
        dtypes=("uint8",),
        spacing=None,
        headers=first_file(54),
    ),
    FileFormat(
        "JPEG 2000 slices",
        writer(".jp2", jpeg2000),
        read_jpeg2000,
        dtypes=("uint8", "uint16", "int16"),
        spacing=None,
        headers=first_file(160),
    ),
    FileFormat("TIFF, several files of several slices", _parts, _read_parts, spacing=None),
]
