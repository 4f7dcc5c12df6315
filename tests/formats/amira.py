"""AmiraMesh files, written and read as the format is described."""

from __future__ import annotations

import re
import zlib
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

NAMES = {"uint8": "byte", "int16": "short", "uint16": "ushort", "float32": "float"}


def header_of(volume: Volume, spacing: Spacing, first: str, packing: str = "", unit: str = "mm") -> str:
    """All in front of the data; the box goes from the centre of a voxel to that of another."""
    ends = (f"0 {(side - 1) * edge:.9g}" for side, edge in zip(reversed(volume.shape), reversed(spacing), strict=True))
    return (
        f"# AmiraMesh {first}\n\n\ndefine Lattice {' '.join(map(str, reversed(volume.shape)))}\n\n"
        f'Parameters {{\n    Units {{\n        Coordinates "{unit}"\n    }}\n    Content "uniform coordinates",\n'
        f'    BoundingBox {" ".join(ends)},\n    CoordType "uniform"\n}}\n\n'
        f"Lattice {{ {NAMES[str(volume.dtype)]} Data }} @1{packing}\n\n# Data section follows\n@1\n"
    )


def runs(data: bytes) -> bytes:
    """Bytes in runs, and as they are where they do not repeat."""
    packed, literal = bytearray(), bytearray()

    def flush() -> None:
        while literal:
            packed.append(128 + min(len(literal), 127))
            packed.extend(literal[:127])
            del literal[:127]

    for value, group in groupby(data):
        count = sum(1 for _ in group)
        if count == 1:
            literal.append(value)
            continue
        flush()
        while count:
            packed.extend((min(count, 127), value))
            count -= min(count, 127)
    flush()
    return bytes(packed)


def _write(folder: Path, volume: Volume, spacing: Spacing, kind: str = "little") -> Path:
    order = ">" if kind == "big" else "<"
    first, packing = "BINARY-LITTLE-ENDIAN 2.1", ""
    data = volume.astype(volume.dtype.newbyteorder(order)).tobytes()
    if kind == "big":
        first = "BINARY 2.1"
    elif kind == "text":
        first = "3D ASCII 2.0"
        data = "".join(f"{value!s} \n" for value in volume.ravel().tolist()).encode()
    elif kind == "zip":
        data = zlib.compress(data)
        packing = f"(HxZip,{len(data)})"
    elif kind == "runs":
        data = runs(data)
        packing = f"(HxByteRLE,{len(data)})"
    (folder / "scan.am").write_bytes(header_of(volume, spacing, first, packing).encode() + data + b"\n")
    return folder / "scan.am"


def _read(source: Path) -> Volume:
    content = source.read_bytes()
    head, _, data = content.partition(b"\n@1\n")
    text = head.decode()
    x, y, z = map(int, re.search(r"define Lattice +(\d+) +(\d+) +(\d+)\n", text).groups())  # type: ignore[union-attr]
    name = re.search(r"Lattice *{ *(\w+) ", text)[1]  # type: ignore[index]
    dtype = np.dtype({each: kind for kind, each in NAMES.items()}[name])
    if "ASCII" in text:
        return np.array(data.split()[: x * y * z]).astype(float).astype(dtype).reshape(z, y, x)
    packed = re.search(r"\((\w+),(\d+)\)", text)
    if packed:
        data = zlib.decompress(data[: int(packed[2])]) if packed[1] == "HxZip" else _unrolled(data[: int(packed[2])])
    stored = dtype.newbyteorder("<" if "LITTLE" in text else ">")
    return np.frombuffer(data, stored, x * y * z).reshape(z, y, x).astype(dtype)


def _unrolled(packed: bytes) -> bytes:
    values, at = bytearray(), 0
    while at < len(packed):
        count = packed[at]
        if count < 128:
            values += packed[at + 1 : at + 2] * count
            at += 2
        else:
            values += packed[at + 1 : at + 1 + count - 128]
            at += 1 + count - 128
    return bytes(values)


def _header(source: Path) -> list[Part]:
    return [(source, 0, source.read_bytes().index(b"\n@1\n") + 4)]


FORMATS = [
    FileFormat("AmiraMesh, little-endian", _write, _read, headers=_header),
    FileFormat("AmiraMesh, big-endian", partial(_write, kind="big"), _read, headers=_header),
    FileFormat("AmiraMesh, text", partial(_write, kind="text"), _read, headers=_header),
    FileFormat("AmiraMesh, HxZip", partial(_write, kind="zip"), _read, headers=_header),
    FileFormat("AmiraMesh, HxByteRLE", partial(_write, kind="runs"), _read, dtypes=("uint8",), headers=_header),
]
