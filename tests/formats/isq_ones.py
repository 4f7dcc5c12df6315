"""ISQ of Scanco, written and read by its published header."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume


def isq_bytes(volume: Volume, spacing: Spacing, blocks: int = 3, **fields: int) -> bytes:
    """An ISQ file with `blocks` blocks between header and voxels; `fields` replace those of the header."""
    (z, y, x), lengths = volume.shape, [round(n * side * 1000) for n, side in zip(volume.shape, spacing, strict=True)]
    values = {16: 3, 20: volume.nbytes, 44: x, 48: y, 52: z, 56: lengths[2], 60: lengths[1], 64: lengths[0]}
    values |= {68: int(spacing[0] * 1000), 72: int(spacing[0] * 1000), 88: 4096, 508: blocks}
    values |= {int(name[1:]): value for name, value in fields.items()}
    header = bytearray(512 * (blocks + 1))
    header[:16] = b"CTDATA-HEADER_V1"
    for place, value in values.items():
        struct.pack_into("<i", header, place, value)
    header[128:168] = b"ore, a sample".ljust(40)
    padding = bytes(-volume.nbytes % 512)
    return bytes(header) + volume.astype("<i2").tobytes() + padding


def _write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    path = folder / "C0001234.ISQ;1"
    path.write_bytes(isq_bytes(volume, spacing))
    return path


def _read(source: Path) -> Volume:
    header = np.fromfile(source, "<i4", 128)
    x, y, z = (int(side) for side in header[11:14])
    if min(x, y, z) < 1 or header[127] < 0:
        raise ValueError("no volume")
    return np.fromfile(source, "<i2", x * y * z, offset=512 * (int(header[127]) + 1)).reshape(z, y, x)


def _headers(source: Path) -> list[Part]:
    return [(source, 0, 128), (source, 168, 512)]


WHOLE_UM = (0.02, 0.138 / 11, 0.005)
"""Spacing of the sample: its 11 rows, 137.5 um, are written as 138 um."""
FORMATS = [FileFormat("ISQ", _write, _read, dtypes=("int16",), spacing=WHOLE_UM, headers=_headers)]
