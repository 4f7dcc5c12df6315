"""Raw voxels with the headers that scanners write beside them, written and read by what is known of these headers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

VGI_TYPES = {"uint8": "unsigned integer", "uint16": "unsigned integer", "int16": "integer", "float32": "float"}
PHOENIX_TYPES = {"uint8": 1, "uint16": 5, "float32": 10}
DAT_TYPES = {"uint8": "UCHAR", "uint16": "USHORT", "int16": "SHORT", "float32": "FLOAT"}
EVEN: Spacing = (0.0125, 0.0125, 0.0125)
"""Of headers that have one length for all axes."""


def vgi(volume: Volume, spacing: Spacing, data: str = "scan.vol", unit: str = "mm") -> str:
    size, kind = " ".join(map(str, volume.shape[::-1])), VGI_TYPES[str(volume.dtype)]
    bits = volume.dtype.itemsize * 8
    return (
        f"{{volume1}}\n[representation]\nsize = {size}\ndatatype = {kind}\ndatarange = 0 -1\nbitsperelement = {bits}\n"
        f"[file1]\nSkipHeader = 0\nFileFormat = raw\nSize = {size}\nName = {data}\nDatatype = {kind}\n"
        f"datarange = 0 -1\nBitsPerElement = {bits}\n{{volumeprimitive12}}\n[geometry]\n"
        f"resolution = {' '.join(map(str, spacing[::-1]))}\nunit = {unit}\n[volume]\nvolume = volume1\n"
    )


def pcr(volume: Volume, edge: float | None = 0.0125) -> str:
    z, y, x = volume.shape
    rec = "" if edge is None else f"VoxelSizeRec={edge}\n"
    return (
        f"[VolumeData]\nVolume_SizeX={x}\nVolume_SizeY={y}\nVolume_SizeZ={z}\nFormat={PHOENIX_TYPES[str(volume.dtype)]}\n"
        f"{rec}Min=0.0\nMax=1.0\nVOL_File=D:\\data\\scan.vol\n"
    )


def info(volume: Volume, order: str = "LOWBYTEFIRST") -> str:
    z, y, x = volume.shape
    return (
        f"! PyHST_SLAVE VOLUME INFO FILE\nNUM_X =  {x}\nNUM_Y =  {y}\nNUM_Z =  {z}\nvoxelSize =  12.5\n"
        f"BYTEORDER = {order}\nValMin =  0.0\nValMax =  1.0\ns1 =  0.0\ns2 =  1.0\nS1 =  0.1\nS2 =  0.9\n"
    )


def dat(volume: Volume, data: str = "scan.raw", thickness: str = "1 1 1") -> str:
    size = " ".join(map(str, volume.shape[::-1]))
    return (
        f"ObjectFileName: {data}\nTaggedFileName: ---\nResolution: {size}\nSliceThickness: {thickness}\n"
        f"Format: {DAT_TYPES[str(volume.dtype)]}\nNbrTags: 0\nObjectType: TEXTURE_VOLUME_OBJECT\nObjectModel: RGBA\n"
        "GridType: EQUIDISTANT\n"
    )


def _written(header: Callable[[Volume, Spacing], str], name: str, data: str, given: str, order: str = "<"):
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        (folder / data).write_bytes(volume.astype(volume.dtype.newbyteorder(order)).tobytes())
        (folder / name).write_text(header(volume, spacing))
        return folder / given

    return write


def _said(source: Path, name: str) -> dict[str, str]:
    lines = (line.replace(": ", " = ", 1).partition("=") for line in (source.parent / name).read_text().splitlines())
    return {key.strip().lower(): value.strip() for key, separator, value in lines if separator}


def _volume(path: Path, kind: str, sides: list[int], start: int = 0) -> Volume:
    content = path.read_bytes()[start:]
    if len(content) != np.prod(sides, dtype=object) * np.dtype(kind).itemsize or min(sides) < 1:
        raise ValueError("another size")
    return np.frombuffer(content, kind).reshape(sides[::-1]).astype(np.dtype(kind).newbyteorder("="))


def _read_vgi(source: Path) -> Volume:
    said = _said(source, "scan.vgi")
    letter = {"unsigned integer": "u", "integer": "i", "signed integer": "i", "float": "f"}[said["datatype"]]
    kind = f"<{letter}{int(said['bitsperelement']) // 8}"
    return _volume(source.parent / said["name"], kind, [*map(int, said["size"].split())], int(said["skipheader"]))


def _read_pcr(source: Path) -> Volume:
    said = _said(source, "scan.pcr")
    kind = {"1": "<u1", "5": "<u2", "10": "<f4"}[said["format"]]
    return _volume(source.parent / "scan.vol", kind, [int(said[f"volume_size{axis}"]) for axis in "xyz"])


def _read_info(source: Path) -> Volume:
    said = _said(source, "scan.vol.info")
    sides = [int(said[f"num_{axis}"]) for axis in "xyz"]
    each = (source.parent / "scan.vol").stat().st_size / np.prod(sides, dtype=object)
    order = {"HIGHBYTEFIRST": ">", "LOWBYTEFIRST": "<"}[said.get("byteorder", "LOWBYTEFIRST").upper()]
    return _volume(source.parent / "scan.vol", order + {1: "u1", 2: "u2", 4: "f4"}[each], sides)


def _read_dat(source: Path) -> Volume:
    said = _said(source, "scan.dat")
    kind = {"CHAR": "i1", "UCHAR": "u1", "SHORT": "<i2", "USHORT": "<u2", "FLOAT": "<f4"}[said["format"]]
    return _volume(source.parent / said["objectfilename"], kind, [*map(int, said["resolution"].split())])


def _part(name: str) -> Callable[[Path], list[Part]]:
    return lambda source: [(source.parent / name, 0, (source.parent / name).stat().st_size)]


HEADER = b"header"


def _bare(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    (folder / "scan.raw").write_bytes(HEADER + volume.astype(volume.dtype.newbyteorder(">")).tobytes())
    np.save(folder / "like.npy", volume)
    return folder / "scan.raw"


def _read_bare(source: Path) -> Volume:
    like = np.load(source.parent / "like.npy")
    content = source.read_bytes()[len(HEADER) :][: like.nbytes]
    return np.frombuffer(content, like.dtype.newbyteorder(">")).reshape(like.shape).astype(like.dtype)


def _raw(volume: Volume) -> dict[str, Any]:
    return {"raw": f"{'x'.join(map(str, volume.shape))},{volume.dtype},big,6"}


PHOENIX, OF_SIZE = ("uint8", "uint16", "float32"), ("uint8", "uint16", "float32")
FORMATS = [
    FileFormat(
        "raw with .vgi",
        _written(vgi, "scan.vgi", "scan.vol", "scan.vgi"),
        _read_vgi,
        headers=_part("scan.vgi"),
    ),
    FileFormat(
        "raw with .vgi, by the voxels",
        _written(vgi, "scan.vgi", "scan.vol", "scan.vol"),
        _read_vgi,
        headers=_part("scan.vgi"),
    ),
    FileFormat(
        "raw with .pcr",
        _written(lambda volume, _: pcr(volume), "scan.pcr", "scan.vol", "scan.pcr"),
        _read_pcr,
        dtypes=PHOENIX,
        spacing=EVEN,
        headers=_part("scan.pcr"),
    ),
    FileFormat(
        "raw with .info",
        _written(lambda volume, _: info(volume, "HIGHBYTEFIRST"), "scan.vol.info", "scan.vol", "scan.vol", ">"),
        _read_info,
        dtypes=OF_SIZE,
        spacing=EVEN,
        headers=_part("scan.vol.info"),
    ),
    FileFormat(
        "raw with .dat",
        _written(lambda volume, _: dat(volume), "scan.dat", "scan.raw", "scan.dat"),
        _read_dat,
        spacing=None,
        headers=_part("scan.dat"),
    ),
    FileFormat(
        "raw as said",
        _bare,
        _read_bare,
        spacing=None,
        headers=lambda source: [(source, 0, len(HEADER))],
        truncated=lambda source: source,
        params=_raw,
    ),
]
