"""NRRD in its encodings, written by pynrrd and SimpleITK, and with data files that pynrrd does not write."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume
from tests.formats.metaimage_ones import read_by_simpleitk


def _by_pynrrd(name: str, encoding: str):
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        header = {"encoding": encoding, "spacings": list(spacing[::-1]), "units": ["mm"] * 3}
        nrrd.write(str(folder / name), volume, header, detached_header=name.endswith("nhdr"), index_order="C")
        return folder / name

    return write


def _by_simpleitk(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, folder / "scan.nrrd", True)
    return folder / "scan.nrrd"


def _slices(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    kinds = {"uint8": "uchar", "uint16": "ushort", "int16": "short", "float32": "float"}
    names = [f"slice{index}.raw" for index in range(len(volume))]
    for name, values in zip(names, volume, strict=True):
        (folder / name).write_bytes(values.astype(volume.dtype.newbyteorder(">")).tobytes())
    x, y, z = (f"{side * 1000}" for side in spacing[::-1])
    (folder / "scan.nhdr").write_text(
        f"NRRD0004\ntype: {kinds[str(volume.dtype)]}\ndimension: 3\nspace dimension: 3\n"
        f"sizes: {' '.join(map(str, volume.shape[::-1]))}\nspace directions: ({x},0,0) (0,{y},0) (0,0,{z})\n"
        'space units: "um" "um" "um"\nendian: big\nencoding: raw\ndata file: LIST\n' + "\n".join(names) + "\n"
    )
    return folder / "scan.nhdr"


def _read(source: Path) -> Volume:
    return nrrd.read(str(source), index_order="C")[0]


def _header(source: Path) -> list[Part]:
    content = source.read_bytes()
    return [(source, 0, content.index(b"\n\n") + 2 if b"\n\n" in content else len(content))]


def _read_slices(source: Path) -> Volume:
    """Only ITK reads lists, and gives what is in micrometres as if it were in mm; the voxels are the same."""
    return np.asarray(read_by_simpleitk(source))


FORMATS = [
    FileFormat("NRRD", _by_pynrrd("scan.nrrd", "raw"), _read, headers=_header),
    FileFormat("NRRD, gzip", _by_pynrrd("scan.nrrd", "gzip"), _read, headers=_header),
    FileFormat("NRRD, bzip2", _by_pynrrd("scan.nrrd", "bzip2"), _read, headers=_header),
    FileFormat("NRRD .nhdr", _by_pynrrd("scan.nhdr", "raw"), _read, headers=_header),
    FileFormat("NRRD .nhdr, gzip", _by_pynrrd("scan.nhdr", "gzip"), _read, headers=_header),
    FileFormat("NRRD of ITK", _by_simpleitk, read_by_simpleitk, headers=_header),
    FileFormat("NRRD, list of slices", _slices, _read_slices, headers=_header),
]
