"""MetaImage: every way of saying where the voxels are, and what is refused or said."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan

GREY = np.random.default_rng(0).integers(-200, 200, (5, 7, 9)).astype("<i2")
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "DimSize": "9 7 5",
    "ElementType": "MET_SHORT",
    "ElementByteOrderMSB": "False",
    "ElementSpacing": "0.005 0.0125 0.02",
}
EDGES = (0.02, 0.0125, 0.005)


def header(data: str, **fields: str | None) -> str:
    said = {**FIELDS, **fields, "ElementDataFile": data}
    return "".join(f"{name} = {value}\n" for name, value in said.items() if value is not None)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    (tmp_path / "scan.raw").write_bytes(GREY.tobytes())
    return tmp_path / "scan.mhd"


def read(path: Path) -> tuple[Any, Any, tuple[str, ...]]:
    with open_scan(str(path)) as reader:
        return reader.read(0, reader.shape[0]), reader.spacing, reader.notes


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ("scan.raw", {}),
        ("./scan.raw", {}),
        ("SCAN.RAW", {}),
        ("scan.raw", {"NDims": "4", "DimSize": "9 7 5 1", "ElementSpacing": "0.005 0.0125 0.02 1"}),
        ("scan.raw", {"ElementSpacing": None, "ElementSize": "0.005 0.0125 0.02"}),
        ("scan.raw", {"ElementSpacing": "5 12.5 20", "DistanceUnits": "um"}),
        ("scan.raw", {"DistanceUnits": "?"}),
        ("scan.raw", {"HeaderSize": "-1"}),
        ("scan.raw", {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "3 4 5", "AnatomicalOrientation": "RAI"}),
        ("scan.raw", {"ObjectType": None, "ElementNumberOfChannels": "1", "CompressedData": "false"}),
    ],
)
def test_ways_to_say_the_same(scan: Path, data: str, fields: dict[str, str | None]) -> None:
    scan.write_text(header(data, **fields))
    values, spacing, notes = read(scan)
    assert np.array_equal(values, GREY)
    assert spacing == pytest.approx(EDGES)
    assert notes == ()


@pytest.mark.parametrize("size", ["16", "-1"])
def test_bytes_before_the_voxels(scan: Path, size: str) -> None:
    scan.with_suffix(".raw").write_bytes(bytes(16) + GREY.tobytes())
    scan.write_text(header("scan.raw", HeaderSize=size))
    assert np.array_equal(read(scan)[0], GREY)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(scan)), GREY)


@pytest.mark.parametrize("local", [True, False])
def test_packed(scan: Path, local: bool) -> None:
    packed = zlib.compress(GREY.tobytes())
    text = header("LOCAL" if local else "scan.zraw", CompressedData="True", CompressedDataSize=str(len(packed)))
    scan.write_bytes(text.encode() + packed if local else text.encode())
    scan.with_suffix(".zraw").write_bytes(packed)
    assert np.array_equal(read(scan)[0], GREY)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(scan)), GREY)
    file = scan if local else scan.with_suffix(".zraw")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read(scan)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("LIST\na.raw\nc d.raw\nb.raw\n3.raw\ne.raw\n", ["a.raw", "c d.raw", "b.raw", "3.raw", "e.raw"]),
        ("LIST 2\na\nb\nc\nd\ne", ["a", "b", "c", "d", "e"]),
        ("s%03d.raw 1 5 1", [f"s{n:03d}.raw" for n in range(1, 6)]),
        ("s%d.raw 2 10 2", [f"s{n}.raw" for n in range(2, 11, 2)]),
        ("s%02d.raw", [f"s{n:02d}.raw" for n in range(1, 6)]),
    ],
)
def test_a_file_for_each_slice(scan: Path, data: str, names: list[str]) -> None:
    for name, values in zip(names, GREY, strict=True):
        (scan.parent / name).write_bytes(values.tobytes())
    scan.write_text(header(data))
    assert np.array_equal(read(scan)[0], GREY)
    (scan.parent / names[3]).write_bytes(GREY[3].tobytes()[:-1])
    with pytest.raises(InputError, match=rf"{names[3]}: truncated"):
        read(scan)
    (scan.parent / names[3]).unlink()
    with pytest.raises(InputError, match=rf"names 5 files; '{names[3]}' is not beside it"):
        read(scan)


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        ("/etc/passwd", {}, "names '/etc/passwd' as its voxels; only files beside it are read"),
        ("../scan.raw", {}, "only files beside it are read"),
        ("sub\\scan.raw", {}, "only files beside it are read"),
        ("..", {}, "only files beside it are read"),
        ("other.raw", {}, "names 'other.raw' as its voxels; no such file beside it"),
        ("LIST\n../scan.raw\n", {}, "'../scan.raw' is not beside it"),
        ("LIST\n", {}, "lists no files"),
        ("LIST 1\nscan.raw\n", {}, "must be LIST, or LIST with the dimensions of a file, 2 or 3"),
        ("LIST\nscan.raw\nscan.mhd\n", {}, "5 slices in 2 files; must be equally many in each"),
        ("s%s%d.raw 1 5 1", {}, "must have one %d or %03d in it"),
        ("s%999999999d.raw 1 5 1", {}, "must have one %d or %03d in it"),
        ("s%d.raw 1 6 1", {}, "6 files of one slice for 5 slices"),
        ("s%d.raw one 6 1", {}, "must be a pattern and up to 3 whole numbers"),
        ("s%d.raw 1 99999999 1", {"DimSize": "9 7 99999999"}, "names 99999999 files; 's1.raw' is not beside it"),
        ("scan.raw", {"ElementNumberOfChannels": "3"}, "3 values per voxel .RGB or vectors.; .* convert to greyscale"),
        ("scan.raw", {"ElementType": "MET_UCHAR_ARRAY"}, "RGB or vectors"),
        ("scan.raw", {"ElementType": "MET_STRING"}, "must be one of MET_CHAR, MET_UCHAR"),
        ("scan.raw", {"ElementType": "MET_INT"}, "truncated, 630 bytes do not hold"),
        ("scan.raw", {"ElementType": "MET_CHAR"}, "more bytes than"),
        ("scan.raw", {"DimSize": "9 7"}, "DimSize '9 7'; must be 3 numbers, as NDims says"),
        ("scan.raw", {"DimSize": "9 7 5.0"}, "must be whole numbers"),
        ("scan.raw", {"DimSize": "9 7 -5"}, "an axis without voxels"),
        ("scan.raw", {"DimSize": "9 7 99999999999999999999"}, "must be whole numbers"),
        ("scan.raw", {"NDims": "4", "DimSize": "9 7 5 2"}, "4-dimensional"),
        ("scan.raw", {"NDims": "2", "DimSize": "9 35"}, "one 2-D slice"),
        ("scan.raw", {"BinaryData": "False"}, "voxels as text .* save it again with binary voxels"),
        ("scan.raw", {"ElementByteOrderMSB": "maybe"}, "must be True or False"),
        ("scan.raw", {"ElementSpacing": "0.005 x 0.02"}, "ElementSpacing '0.005 x 0.02'; must be numbers"),
        ("scan.raw", {"HeaderSize": "-2"}, "-1 or the number of bytes"),
        ("scan.raw", {"HeaderSize": "-1", "CompressedData": "True"}, "known where voxels are compressed"),
        ("scan.raw", {"CompressedData": "True"}, "damaged|truncated"),
        ("scan.raw", {"ObjectType": "Mesh"}, "a MetaIO Mesh, not an image"),
        ("scan.raw", {"ElementToIntensityFunctionSlope": "0"}, "values scaled by 0"),
    ],
)
def test_what_is_refused(scan: Path, data: str, fields: dict[str, str], message: str) -> None:
    scan.write_text(header(data, **fields))
    with pytest.raises(InputError, match=message) as raised:
        read(scan)
    assert "\n" not in str(raised.value)
    assert str(scan.parent) in str(raised.value)


def test_no_header_at_all(scan: Path) -> None:
    scan.write_bytes(GREY.tobytes() * 10)
    with pytest.raises(InputError, match=r"not a MetaImage header|says no ElementDataFile"):
        read(scan)
    with scan.open("wb") as file:
        file.truncate(2**40)  # sparse; nobody reads a tebibyte to find the end of a header
    with pytest.raises(InputError, match="not a header, 4 MiB without its end"):
        read(scan)


def test_a_field_said_twice(scan: Path) -> None:
    scan.write_text("DimSize = 5 7 9\n" + header("scan.raw"))
    with pytest.raises(InputError, match="DimSize is said twice, '5 7 9' and '9 7 5'"):
        read(scan)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"TransformMatrix": "-1 0 0 0 1 0 0 0 1"}, "its header mirrors the axes; they are taken as stored"),
        ({"TransformMatrix": "0 1 0 1 0 0 0 0 1"}, "its header turns the axes; they are taken as stored"),
        ({"TransformMatrix": "1 0 0"}, "its orientation is no rotation and is not applied"),
        ({"ElementByteOrderMSB": None}, "its header does not say the byte order; little-endian is taken"),
    ],
)
def test_what_is_said(scan: Path, fields: dict[str, str | None], says: str) -> None:
    scan.write_text(header("scan.raw", **fields))
    values, spacing, notes = read(scan)
    assert np.array_equal(values, GREY)
    assert spacing == pytest.approx(EDGES)
    assert notes == (says,)


@pytest.mark.parametrize(
    ("text", "unit", "doubt"),
    [
        ("1 1 1", None, None),
        (None, None, None),
        ("0 1 1", None, "its spacing 1, 1, 0 (z, y, x) is not used: lengths must be above 0"),
        ("-1 2 3", None, "its spacing 3, 2, -1 (z, y, x) is not used: lengths must be above 0"),
        ("1 2", None, "its spacing 2, 1 (z, y, x) is not used: must be 3 lengths"),
        ("1 2 3", "inch", "its spacing 3, 2, 1 (z, y, x) is not used: unit 'inch' is none of length"),
    ],
)
def test_spacings_that_are_not_believed(scan: Path, text: str | None, unit: str | None, doubt: str | None) -> None:
    scan.write_text(header("scan.raw", ElementSpacing=text, DistanceUnits=unit))
    with open_scan(str(scan)) as reader:
        assert reader.spacing is None
        assert reader.spacing_doubt == doubt
        assert reader.notes == ((doubt,) if doubt else ())


def test_one_millimetre_that_is_meant(scan: Path) -> None:
    scan.write_text(header("scan.raw", ElementSpacing="1 1 1", DistanceUnits="mm"))
    assert read(scan)[1] == (1, 1, 1)


def test_grey_values_that_are_scaled(scan: Path) -> None:
    slope = {"ElementToIntensityFunctionSlope": "0.5", "ElementToIntensityFunctionOffset": "10"}
    scan.write_text(header("scan.raw", **slope))
    values, _, notes = read(scan)
    assert values.dtype == np.float32
    assert np.array_equal(values, GREY * 0.5 + 10)
    assert notes == ("values are stored in units of 0.5 above 10: kept as float32",)


def test_windows_line_ends(scan: Path) -> None:
    scan.write_bytes(header("scan.raw").replace("\n", "\r\n").encode())
    assert np.array_equal(read(scan)[0], GREY)
    scan.write_bytes(header("LOCAL").replace("\n", "\r\n").encode() + GREY.tobytes())
    assert np.array_equal(read(scan)[0], GREY)


def test_the_raw_file_may_be_given(scan: Path) -> None:
    scan.write_text(header("scan.raw"))
    values, spacing, _ = read(scan.with_suffix(".raw"))
    assert np.array_equal(values, GREY)
    assert spacing == pytest.approx(EDGES)


def test_files_of_a_volume_are_known_as_its_parts(scan: Path) -> None:
    scan.write_text(header("scan.raw"))
    for given, other in (("scan.mhd", "scan.raw"), ("scan.raw", "scan.mhd")):
        with open_scan(str(scan.parent / given)) as reader:
            assert [file.name for file in reader.beside] == [other]
    scan.write_bytes(header("LOCAL").encode() + GREY.tobytes())
    with open_scan(str(scan)) as reader:
        assert reader.beside == ()
