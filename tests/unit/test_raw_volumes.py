"""Raw voxels: by headers of scanners, as a person says, and what would fit when nothing does."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.raw_ones import dat, info, pcr, vgi

GREY = np.random.default_rng(0).integers(0, 60_000, (6, 8, 10)).astype("<u2")
EDGES = (0.02, 0.0125, 0.005)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "scan.vol").write_bytes(GREY.tobytes())
    return tmp_path / "scan.vol"


def read(path: Path, raw: str | None = None) -> tuple[Any, Any]:
    with open_scan(str(path), SourceParams(raw=raw)) as reader:
        return reader.read(0, reader.shape[0]), reader


def beside(data: Path, name: str, text: str) -> Path:
    (data.parent / name).write_text(text)
    return data.parent / name


@pytest.mark.parametrize(
    ("name", "text", "spacing"),
    [
        ("scan.vgi", vgi(GREY, EDGES), EDGES),
        ("SCAN.VGI", vgi(GREY, EDGES, "Scan.VOL"), EDGES),
        ("scan.vgi", vgi(GREY, EDGES, "D:\\reconstructed\\scan.vol"), EDGES),
        ("scan.pcr", pcr(GREY), (0.0125,) * 3),
        ("scan.info", info(GREY), (0.0125,) * 3),
        ("scan.vol.info", info(GREY), (0.0125,) * 3),
        ("scan.dat", dat(GREY, "scan.vol"), None),
    ],
)
def test_header_or_voxels_may_be_given(data: Path, name: str, text: str, spacing: Any) -> None:
    header = beside(data, name, text)
    for given in (header, data):
        values, reader = read(given)
        assert np.array_equal(values, GREY)
        assert reader.spacing == (spacing and pytest.approx(spacing))
        assert reader.spacing_from == (header.name if spacing else None)
        assert reader.description == f"raw file scan.vol of 6 slices, by {header.name}"


def test_the_type_that_only_the_size_tells_is_said(data: Path) -> None:
    beside(data, "scan.vol.info", info(GREY))
    assert read(data)[1].notes == (
        "scan.vol.info does not say the type of voxels; by the size of the file it is uint16",
    )
    data.write_bytes(GREY.astype("<f4").tobytes())
    values, _ = read(data)
    assert values.dtype == np.float32
    assert np.array_equal(values, GREY)
    data.write_bytes(bytes(6 * 8 * 10 * 3))
    with pytest.raises(InputError, match=r"voxels are not 1440 bytes as uint8, uint16 or float32"):
        read(data)


def test_two_headers_of_one_scan(data: Path) -> None:
    beside(data, "scan.vgi", vgi(GREY, (0.0125,) * 3))
    beside(data, "scan.pcr", pcr(GREY, 0.01251))
    values, reader = read(data)
    assert np.array_equal(values, GREY)
    assert (reader.spacing, reader.notes) == ((0.0125,) * 3, ())
    beside(data, "scan.pcr", pcr(GREY, 0.02))
    for given in ("scan.vol", "scan.vgi", "scan.pcr"):
        reader = read(data.parent / given)[1]
        assert reader.spacing is None
        assert "0.02 mm" in (reader.spacing_doubt or "")
        assert "0.0125 mm" in (reader.spacing_doubt or "")
    beside(data, "scan.pcr", pcr(GREY.transpose(0, 2, 1)))
    with pytest.raises(InputError, match=r"scan\.vgi and scan\.pcr say different things of its voxels"):
        read(data)


def test_a_header_of_another_file_is_not_asked(data: Path) -> None:
    beside(data, "scan.vgi", vgi(GREY, EDGES, "other.vol"))
    beside(data, "scan.pcr", pcr(GREY).replace("scan.vol", "other.vol"))
    with pytest.raises(InputError, match="voxels without a header"):
        read(data)


def test_the_voxel_size_of_projections(data: Path) -> None:
    pca = beside(data, "scan.pca", "[Geometry]\nFDD=800\nVoxelSizeX=0.0125\nVoxelSizeY=0.0125\n[Image]\nDimX=9\n")
    with pytest.raises(InputError, match=r"scan\.pca: says nothing of the size of the volume; put the \.pcr or \.vgi"):
        read(pca)
    beside(data, "scan.pcr", pcr(GREY, None))
    for given in (pca, data, data.with_suffix(".pcr")):
        values, reader = read(given)
        assert np.array_equal(values, GREY)
        assert reader.spacing == (0.0125,) * 3
        assert reader.spacing_from == "scan.pca"
    data.with_suffix(".pcr").unlink()
    values, reader = read(data, "6x8x10,uint16")
    assert np.array_equal(values, GREY)
    assert (reader.spacing, reader.spacing_from) == ((0.0125,) * 3, "scan.pca")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (vgi(GREY, EDGES, "gone.vol"), "names 'gone.vol' as its voxels; no such file beside it"),
        (vgi(GREY, EDGES).replace("FileFormat = raw", "FileFormat = jpeg"), "voxels as 'jpeg'; export them as raw"),
        (vgi(GREY, EDGES).replace("= 16", "= 12"), "voxels of type unsigned integer 12; must be integers or floats"),
        (vgi(GREY, EDGES).replace("SkipHeader = 0", "SkipHeader = -4"), "voxels begin at byte -4"),
        (vgi(GREY, EDGES).replace("SkipHeader = 0", "SkipHeader = 4"), "truncated"),
        (vgi(GREY, EDGES) + "[file2]\nName = more.vol\n", "a volume in several files"),
        (vgi(GREY, EDGES).replace("Name = scan.vol\n", ""), "says no name"),
        (vgi(GREY[:5], EDGES), "more bytes than"),
        ("", "says no"),
        ("\0" * 600, "not a header, which is text"),
    ],
)
def test_vgi_that_are_refused(data: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(beside(data, "scan.vgi", text))


def test_what_a_vgi_says_besides(data: Path) -> None:
    text = vgi(GREY, EDGES, unit="inch").replace("size = 10 8 6\ndatatype", "size = 10 8 5\ndatatype")
    header = beside(data, "scan.vgi", text.replace("unit =", "rotate = 0 1 0 1 0 0 0 0 1\nunit ="))
    values, reader = read(header)
    assert np.array_equal(values, GREY)
    assert reader.notes == (
        "its spacing 0.02, 0.0125, 0.005 (z, y, x) is not used: unit 'inch' is none of length",
        "its header shows a part of 10 8 5 voxels; all that the file holds is read",
        "its header turns the axes; they are taken as stored",
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scan.pcr", pcr(GREY).replace("Format=5", "Format=7"), "Format 7 of voxels is not known; export the volume"),
        ("scan.pcr", pcr(GREY).replace("Volume_SizeZ=6", ""), "says no volume_sizez"),
        ("scan.info", info(GREY, "MIDDLE"), "BYTEORDER 'MIDDLE'; must be LOWBYTEFIRST or HIGHBYTEFIRST"),
        ("scan.info", info(GREY).replace("NUM_Z =  6", "NUM_Z = 0"), "an axis without voxels"),
        ("scan.dat", dat(GREY, "scan.vol").replace("USHORT", "UCHAR4"), "Format UCHAR4; must be one grey value per"),
        ("scan.dat", "any,thing\n1,2\n", "says no format"),
        ("other.info", info(GREY), "a header without voxels; put other.vol or other.raw beside it"),
    ],
)
def test_other_headers_that_are_refused(data: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(beside(data, name, text))


def test_thickness_without_a_unit_is_doubted(data: Path) -> None:
    _, reader = read(beside(data, "scan.dat", dat(GREY, "scan.vol", "0.5 0.5 1")))
    assert reader.spacing_doubt == "its SliceThickness 1, 0.5, 0.5 (z, y, x) is not used: the format has no unit"


def test_voxels_without_a_header(data: Path) -> None:
    with pytest.raises(InputError, match=r"voxels without a header; none of scan\.vgi, .* lies beside it") as raised:
        read(data)
    assert "say with raw how the voxels lie, like 800x512x512,uint16,little,0 (Z x Y x X)" in str(raised.value)


@pytest.mark.parametrize("name", ["scan.vol", "scan", "scan.tif", "scan.nii"])
def test_any_file_may_be_said_to_be_raw(data: Path, name: str) -> None:
    path = data.rename(data.parent / name)
    values, reader = read(path, "6x8x10,uint16")
    assert np.array_equal(values, GREY)
    assert reader.spacing is None
    assert reader.description == f"raw file {name} of 6 slices, as said"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_packed_voxels(data: Path, suffix: str, pack: Any) -> None:
    path = data.parent / f"scan.raw{suffix}"
    path.write_bytes(pack(bytes(100) + GREY.astype(">u2").tobytes()))
    assert np.array_equal(read(path, "6x8x10,uint16,big,100")[0], GREY)
    with pytest.raises(InputError, match=r"damaged|truncated|more bytes"):
        read(path, "6x8x10,uint16")
    with pytest.raises(InputError, match="truncated"):
        read(path, "9x8x10,uint16")


def test_a_little_behind_the_voxels_is_said(data: Path) -> None:
    data.write_bytes(b"1234" + GREY.tobytes() + b"56789")
    values, reader = read(data, "6x8x10,uint16,little,4")
    assert np.array_equal(values, GREY)
    assert reader.notes == ("5 bytes behind the voxels are not read",)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("6x8x10,uint8", "uint16 would fit, or uint8 with rows of 8 x 10 would be 12 slices"),
        ("9x8x10,uint16", "uint16 with rows of 8 x 10 would be 6 slices"),
        ("5x8x10,uint16,little,0", "uint16 with rows of 8 x 10 would be 6 slices"),
        ("6x8x9,uint16", "with a header before them the voxels would begin at byte 96"),
    ],
)
def test_what_would_fit_is_told(data: Path, raw: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        read(data, raw)
    text = str(raised.value)
    assert f"{data}: 960 bytes are not {raw.partition(',')[0].replace('x', ' x ')}" in text
    assert told in text
    assert text.endswith("; correct raw, or restore the file")
    assert text.partition("bytes are not")[2].count("would") <= 3


def test_sizes_of_real_scans(tmp_path: Path) -> None:
    path = tmp_path / "scan.raw"
    with path.open("wb") as file:
        file.truncate(104_857_600)
    with pytest.raises(InputError) as raised:
        read(path, "800x512x512,uint16")
    assert str(raised.value) == (
        f"{path}: 104857600 bytes are not 800 x 512 x 512 uint16 voxels (419430400 bytes); uint16 with rows of 512 x "
        "512 would be 200 slices, or uint8 with rows of 512 x 512 would be 400 slices, or float32 with rows of 512 x "
        "512 would be 100 slices; correct raw, or restore the file"
    )


def test_all_files_of_a_volume_are_known_as_its_parts(data: Path) -> None:
    names = ("scan.vol", "scan.vgi", "scan.pcr")
    beside(data, "scan.vgi", vgi(GREY, EDGES))
    beside(data, "scan.pcr", pcr(GREY, None))
    for given in names:
        reader = read(data.parent / given)[1]
        assert {file.name for file in reader.beside} == {*names} - {given}
    beside(data, "scan.pca", "[Geometry]\nVoxelSizeX=0.005\n")
    (data.parent / "scan.vgi").unlink()
    assert [file.name for file in read(data, "6x8x10,uint16")[1].beside] == ["scan.pca"]
