"""Analyze and NIfTI in two files: what belongs together, and what their headers leave open."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan

GREY = np.random.default_rng(0).integers(-200, 200, (5, 7, 9)).astype("int16")
EDGES = np.diag([0.005, 0.0125, 0.02, 1])


@pytest.fixture
def analyze(tmp_path: Path) -> Path:
    nib.AnalyzeImage(GREY.T, EDGES).to_filename(str(tmp_path / "scan.img"))
    return tmp_path / "scan.hdr"


def changed(path: Path, place: int, form: str, *values: object) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, *values)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["scan.hdr", "scan.img"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair, nib.AnalyzeImage])
def test_either_file_may_be_given(tmp_path: Path, name: str, kind: type) -> None:
    kind(GREY.T, EDGES).to_filename(str(tmp_path / "scan.img"))
    with open_scan(str(tmp_path / name)) as reader:
        assert np.array_equal(reader.read(0, 5), GREY)
        assert reader.spacing == pytest.approx((0.02, 0.0125, 0.005))
        assert reader.notes == ()
        assert [file.name for file in reader.beside] == [{"scan.hdr": "scan.img", "scan.img": "scan.hdr"}[name]]


def test_what_itk_writes(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(GREY)
    image.SetSpacing((0.005, 0.0125, 0.02))
    sitk.WriteImage(image, tmp_path / "scan.img.gz")
    for path in tmp_path.iterdir():
        with open_scan(str(path)) as reader:
            assert np.array_equal(reader.read(0, 5), GREY)


def test_names_of_another_case(analyze: Path) -> None:
    analyze.rename(analyze.with_name("SCAN.HDR"))
    with open_scan(str(analyze.with_suffix(".img"))) as reader:
        assert np.array_equal(reader.read(2, 4), GREY[2:4])


@pytest.mark.parametrize(("gone", "given"), [("scan.img", "scan.hdr"), ("scan.hdr", "scan.img")])
def test_half_of_a_pair_is_refused(analyze: Path, gone: str, given: str) -> None:
    (analyze.parent / gone).unlink()
    with pytest.raises(InputError, match=rf"one file of a pair; {gone} is not beside it"):
        open_scan(str(analyze.parent / given))


@pytest.mark.parametrize(
    ("text", "spacing"),
    [(b"um", (2e-5, 1.25e-5, 5e-6)), (b"micr", (2e-5, 1.25e-5, 5e-6)), (b"mm", (0.02, 0.0125, 0.005)), (b"furl", None)],
)
def test_units(analyze: Path, text: bytes, spacing: tuple[float, ...] | None) -> None:
    changed(analyze, 56, "4s", text)
    with open_scan(str(analyze)) as reader:
        assert reader.spacing == (None if spacing is None else pytest.approx(spacing))
        assert (reader.spacing_doubt is None) == (spacing is not None)


def test_a_spacing_of_nobody(analyze: Path) -> None:
    changed(analyze, 80, "<3f", 1, 1, 1)
    with open_scan(str(analyze)) as reader:
        assert reader.spacing is None
        assert reader.notes == ()


def test_what_is_left_open_is_said(analyze: Path) -> None:
    changed(analyze, 112, "<f", 0.5)
    changed(analyze, 252, "B", 3)
    changed(analyze, 80, "<f", -0.005)
    with open_scan(str(analyze)) as reader:
        assert [note.split(";")[0] for note in reader.notes] == [
            "its spacing 0.02, 0.0125, -0.005 (z, y, x) is not used: lengths must be above 0",
            "its header has 0.5 where SPM keeps a scale factor",
            "its header says orient 3, not axial",
        ]
        assert np.array_equal(reader.read(0, 5), GREY)


def test_big_endian_with_types_of_later_years(analyze: Path) -> None:
    header = nib.AnalyzeHeader(analyze.read_bytes()).as_byteswapped(">")
    analyze.write_bytes(header.binaryblock)
    changed(analyze, 70, ">2h", 512, 16)
    analyze.with_suffix(".img").write_bytes(GREY.astype(">u2").tobytes())
    with open_scan(str(analyze)) as reader:
        assert reader.dtype == "uint16"
        assert np.array_equal(reader.read(0, 5), GREY.astype("uint16"))


@pytest.mark.parametrize(
    ("place", "form", "values", "message"),
    [
        (0, "<i", (349,), "not an Analyze or NIfTI header"),
        (42, "<3h", (9, 7, 500), "truncated"),
        (42, "<3h", (9, 7, 4), "more bytes than"),
        (70, "<2h", (128, 24), "RGB; must be 1 grey value per voxel"),
        (72, "<h", (8,), "voxels of 8 bits and of type int16"),
        (108, "<f", (-8,), "voxels begin at byte -8; must be 0 or more"),
        (108, "<f", (float("nan"),), "voxels begin at byte nan"),
    ],
)
def test_headers_that_are_refused(analyze: Path, place: int, form: str, values: tuple, message: str) -> None:
    changed(analyze, place, form, *values)
    with pytest.raises(InputError, match=message):
        open_scan(str(analyze))


def test_a_packed_header_is_believed_with_its_checksum_only(tmp_path: Path) -> None:
    nib.Nifti1Pair(GREY.T, EDGES).to_filename(str(tmp_path / "scan.img"))
    packed = bytearray(gzip.compress((tmp_path / "scan.hdr").read_bytes()))
    (tmp_path / "scan.hdr").unlink()
    packed[-8] ^= 1
    (tmp_path / "scan.hdr.gz").write_bytes(packed)
    with pytest.raises(InputError, match="CRC check failed"):
        open_scan(str(tmp_path / "scan.img"))
    (tmp_path / "scan.hdr.gz").write_bytes(gzip.compress(bytes(2**23)))
    with pytest.raises(InputError, match="longer than a header can be"):
        open_scan(str(tmp_path / "scan.img"))


def test_other_headers_of_this_name(tmp_path: Path) -> None:
    (tmp_path / "scan.hdr").write_text("ENVI\nsamples = 9\n" + " " * 400)
    (tmp_path / "scan.img").write_bytes(b"0")
    with pytest.raises(InputError, match=r"not an Analyze or NIfTI header \(begins with b'ENVI"):
        open_scan(str(tmp_path / "scan.hdr"))


def test_a_single_file_that_calls_itself_a_pair(tmp_path: Path) -> None:
    nib.Nifti1Pair(GREY.T, EDGES).to_filename(str(tmp_path / "scan.img"))
    (tmp_path / "scan.hdr").rename(tmp_path / "scan.nii")
    with pytest.raises(InputError, match=r"header without voxels; name it \.hdr"):
        open_scan(str(tmp_path / "scan.nii"))
