"""MetaImage in its ways of keeping voxels, written by SimpleITK, or as MetaIO's documentation has it."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

TYPES = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT", "int16": "MET_SHORT", "float32": "MET_FLOAT"}


def _written(name: str, packed: bool = False):
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        image = sitk.GetImageFromArray(volume)
        image.SetSpacing(spacing[::-1])
        sitk.WriteImage(image, folder / name, packed)
        return folder / name

    return write


def metaimage_header(volume: Volume, spacing: Spacing, data: str, *, is_big: bool = False) -> str:
    """The header of a volume in the file, files or place that `data` names."""
    return (
        "ObjectType = Image\nNDims = 3\n"
        f"DimSize = {' '.join(map(str, volume.shape[::-1]))}\nElementType = {TYPES[str(volume.dtype)]}\n"
        f"ElementSpacing = {' '.join(map(str, spacing[::-1]))}\nElementByteOrderMSB = {is_big}\n"
        f"ElementDataFile = {data}"
    )


def _slices(listed: bool):
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        names = [f"slice{index:02d}.raw" for index in range(3, 3 + len(volume))]
        for name, values in zip(names, volume, strict=True):
            (folder / name).write_bytes(values.astype(volume.dtype.newbyteorder(">")).tobytes())
        data = "LIST\n" + "\n".join(names) + "\n" if listed else f"slice%02d.raw 3 {2 + len(volume)} 1\n"
        (folder / "scan.mhd").write_text(metaimage_header(volume, spacing, data, is_big=True))
        return folder / "scan.mhd"

    return write


def read_by_simpleitk(source: Path) -> Volume:
    return sitk.GetArrayFromImage(sitk.ReadImage(source))


def _header(source: Path) -> list[Part]:
    content = source.read_bytes()
    line = content.index(b"ElementDataFile")
    end = content.find(b"\n", line) + 1
    return [(source, 0, end if content[line:end].rstrip().endswith(b"LOCAL") else len(content))]


FORMATS = [
    FileFormat("MetaImage .mha", _written("scan.mha"), read_by_simpleitk, headers=_header),
    FileFormat("MetaImage .mha, packed", _written("scan.mha", True), read_by_simpleitk, headers=_header),
    FileFormat("MetaImage .mhd", _written("scan.mhd"), read_by_simpleitk, headers=_header),
    FileFormat("MetaImage .mhd, packed", _written("scan.mhd", True), read_by_simpleitk, headers=_header),
    FileFormat("MetaImage, list of slices", _slices(True), read_by_simpleitk, headers=_header),
    FileFormat("MetaImage, numbered slices", _slices(False), read_by_simpleitk, headers=_header),
]
