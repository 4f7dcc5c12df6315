"""Volumes of Zeiss X-ray microscopes, written as their readers describe the streams in them."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

import numpy as np
import olefile

from ps3d_core.store.ome import Spacing
from tests.formats.compound_file import compound_file
from tests.formats.file_format import FileFormat, Part, Volume

CODES = {"uint8": 3, "int16": 4, "uint16": 5, "float32": 10}


def streams_of(volume: Volume, pixel_size: float = 12.5, mode: int | None = 10) -> dict[str, bytes]:
    """What a .txm holds, by the paths of streams; `pixel_size` in um."""
    depth, height, width = volume.shape
    streams = {
        "ImageInfo/ImageWidth": struct.pack("<I", width),
        "ImageInfo/ImageHeight": struct.pack("<I", height),
        "ImageInfo/NoOfImages": struct.pack("<I", depth),
        "ImageInfo/ImagesTaken": struct.pack("<I", depth),
        "ImageInfo/DataType": struct.pack("<I", CODES[str(volume.dtype)]),
        "ImageInfo/PixelSize": struct.pack("<f", pixel_size),
        "ImageInfo/Angles": np.zeros(depth, "<f4").tobytes(),
        "exeVersion": b"11.1.5707",
    }
    if mode is not None:
        streams["ImageInfo/AcquisitionMode"] = struct.pack("<i", mode)
    for index, values in enumerate(volume):
        streams[f"ImageData{index // 100 + 1}/Image{index + 1}"] = values.astype(
            values.dtype.newbyteorder("<")
        ).tobytes()
    return streams


def _write(folder: Path, volume: Volume, spacing: Spacing, sector: int = 512) -> Path:
    # Sectors are listed in the header, as far as there is room for lists of lists.
    sector = sector if volume.nbytes < 5e6 else 4096
    (folder / "scan.txm").write_bytes(compound_file(streams_of(volume), sector))
    return folder / "scan.txm"


def _read(source: Path) -> Volume:
    with olefile.OleFileIO(source) as ole:
        number = lambda name: struct.unpack("<I", ole.openstream(f"ImageInfo/{name}").read()[:4])[0]  # noqa: E731
        dtype = {code: name for name, code in CODES.items()}[number("DataType")]
        shape = (number("ImageHeight"), number("ImageWidth"))
        paths = (f"ImageData{index // 100 + 1}/Image{index + 1}" for index in range(number("NoOfImages")))
        slices = [np.frombuffer(ole.openstream(path).read(), np.dtype(dtype).newbyteorder("<")) for path in paths]
        return np.stack([values.reshape(shape) for values in slices]).astype(dtype)


def _metadata(source: Path) -> list[Part]:
    """All but the images, which stand in sectors of their own, or in the mini stream."""
    content = source.read_bytes()
    return [(source, 0, 512), (source, len(content) // 2, len(content))]


FORMATS = [
    FileFormat("Zeiss TXM", _write, _read, spacing=(0.0125, 0.0125, 0.0125), headers=_metadata),
    FileFormat(
        "Zeiss TXM, sectors of 4096 bytes",
        partial(_write, sector=4096),
        _read,
        spacing=(0.0125, 0.0125, 0.0125),
        headers=lambda source: [(source, 0, 512), (source, source.stat().st_size - 5 * 4096, source.stat().st_size)],
    ),
]
