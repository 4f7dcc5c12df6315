"""DICOM series: order by position, spacing, grey values, series to choose, and what is refused."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slice_folder import series_of_slices
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location
from tests.formats.dicom import dataset, place, write_frames, write_slices
from tests.formats.file_format import SPACING, sample

GREY = sample("uint16", (6, 9, 12)) >> 2


def read(source: Path, **params: Any) -> tuple[np.ndarray, ScanReader]:
    with open_scan(str(source), SourceParams(**params)) as reader:
        return reader.read(0, reader.shape[0]), reader


def refused(source: Path, **params: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(source, **params)
    text = str(caught.value)
    assert "\n" not in text
    assert "Secret" not in text
    return text


def change(folder: Path, index: int | None, **elements: Any) -> None:
    """Change elements of the slice at `index` in space, or of all; None deletes one."""
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        at = round(float(made.ImagePositionPatient[2]) / SPACING[0])
        if index is None or at == index:
            for name, value in elements.items():
                if value is None:
                    delattr(made, name)
                else:
                    setattr(made, name, value(at) if callable(value) else value)
            made.save_as(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scan").mkdir()
    return write_slices(tmp_path / "scan", GREY, SPACING)


@pytest.mark.parametrize("name", ["IM{index}", "1.2.840.113619.{index}", "I{index}.ima", "{index}.DCM"])
def test_files_of_any_name(tmp_path: Path, name: str) -> None:
    write_slices(tmp_path, GREY, SPACING, name)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "README.txt").write_text("not a slice")
    values, reader = read(tmp_path)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx(SPACING)
    assert reader.notes == ()
    assert "Secret" not in reader.description


def test_a_slice_by_itself_is_no_scan(folder: Path) -> None:
    assert "one 2-D slice of 9 x 12" in refused(folder / "IM0000.dcm")
    shutil.copy(folder / "IM0000.dcm", folder / "IM1")
    assert "one 2-D slice of 9 x 12" in refused(folder / "IM1")


def test_slices_in_any_direction(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        lies = {
            "ImagePositionPatient": ["1", f"{5 - index * 0.5}", "3"],
            "ImageOrientationPatient": ["1", "0", "0", "0", "0", "1"],  # rows go up; the normal is -y
            "PixelSpacing": ["0.2", "0.1"],
        }
        dataset(values, CTImageStorage, **lies).save_as(tmp_path / f"{index}.dcm")
    values, reader = read(tmp_path)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx((0.5, 0.2, 0.1))
    assert reader.notes == ("its header turns or mirrors the axes; they are taken as stored",)


def test_slices_that_are_shifted_sideways_are_said(folder: Path) -> None:
    change(folder, None, ImagePositionPatient=lambda at: [0, at * 0.01, at * SPACING[0]])
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert "shifted sideways" in reader.notes[0]


def test_the_position_counts_and_the_thickness_does_not(folder: Path) -> None:
    change(folder, None, SliceThickness="7", SpacingBetweenSlices="7", InstanceNumber=1)
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx(SPACING)


def test_rounded_positions(folder: Path) -> None:
    change(folder, None, ImagePositionPatient=lambda at: [0, 0, round(at * 0.0333, 3)])
    assert read(folder)[1].spacing == pytest.approx((0.0333, *SPACING[1:]), rel=0.01)


def test_without_positions_the_numbers_count(folder: Path) -> None:
    change(folder, None, InstanceNumber=lambda at: 10 + at)
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        del made.ImagePositionPatient
        made.save_as(path)
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert reader.spacing is None
    assert "not how far apart its slices are" in str(reader.spacing_doubt)
    assert "in the order of their numbers" in reader.notes[0]
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        made.SpacingBetweenSlices = "0.04"
        made.save_as(path)
    assert read(folder)[1].spacing == pytest.approx((0.04, *SPACING[1:]))
    path = next(path for path in folder.iterdir() if pydicom.dcmread(path).InstanceNumber == 12)
    content = path.read_bytes()
    path.unlink()
    assert "slice 12 is missing between" in refused(folder)
    assert len(read(folder, allow_gaps=True)[0]) == 5
    for number, message in ((13, "have the same number 13"), (None, "neither a position nor a number")):
        path.write_bytes(content)
        made = pydicom.dcmread(path)
        made.InstanceNumber = number
        made.save_as(path)
        assert message in refused(folder, allow_gaps=True)


def test_one_place_for_all_is_none(folder: Path) -> None:
    change(folder, None, InstanceNumber=lambda at: at, ImagePositionPatient=[0, 0, 0])
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert "in the order of their numbers" in reader.notes[0]


FAULTS: dict[str, tuple[int | None, dict[str, Any], str]] = {
    "same position": (3, {"ImagePositionPatient": [0, 0, 0.04]}, "lie at the same position; remove one of them"),
    "uneven": (3, {"ImagePositionPatient": [0, 0, 0.066]}, "uneven distances, 0.026 mm from"),
    "turned": (3, {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "slices must be parallel"),
    "skewed": (None, {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not at right angles"),
    "one without place": (3, {"ImageOrientationPatient": None}, "does not say where it lies, others do"),
    "colours": (3, {"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR, 1 values per pixel; must be 1 grey"),
    "other meaning": (3, {"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1; must be 9 x 12 uint16 like"),
    "other sign": (3, {"PixelRepresentation": 1}, "9 x 12 int16; must be 9 x 12 uint16 like"),
    "fewer bits": (3, {"BitsStored": 12, "HighBit": 11}, "9 x 12 uint16, of 12 bits; must be 9 x 12 uint16 like"),
    "high bit": (None, {"BitsStored": 12, "HighBit": 15}, "values end at bit 15 of 12"),
    "packed bits": (None, {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 of 12 bits per pixel"),
    "fewer pixels": (3, {"Rows": 12}, "truncated, "),
    "more pixels": (3, {"Rows": 6}, "216 bytes of pixels for 1 x 6 x 12 uint16"),
    "no size": (3, {"Rows": 0}, "a picture of 0 x 12"),
    "slope": (3, {"RescaleSlope": 0}, "RescaleSlope is no usable number"),
    "frames": (3, {"NumberOfFrames": 3}, "truncated"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_one_line(folder: Path, fault: str) -> None:
    index, elements, message = FAULTS[fault]
    warnings.simplefilter("ignore")  # of pydicom, about what is written here
    change(folder, index, **elements)
    assert message in refused(folder)


def test_a_gap_is_found_and_can_be_allowed(folder: Path) -> None:
    path = next(path for path in folder.iterdir() if pydicom.dcmread(path).ImagePositionPatient[2] == 3 * SPACING[0])
    path.unlink()
    assert "slices are missing, 0.04 mm from IM" in refused(folder)
    values, reader = read(folder, allow_gaps=True)
    assert np.array_equal(values, np.delete(GREY, 3, axis=0))
    assert reader.spacing == pytest.approx(SPACING)
    assert "uneven distances, 0.02 to 0.04 mm; 0.02 is used for all" in reader.notes[0]


@pytest.mark.parametrize(
    ("elements", "doubt"),
    [
        ({"PixelSpacing": None}, None),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.2]}, "on the detector only"),
        ({"PixelSpacing": [0, 0.1]}, "pixels of 0 x 0.1 mm are not used: lengths must be above 0"),
        ({"PixelSpacing": lambda at: [1 + at, 1]}, "pixels of different sizes"),
    ],
)
def test_spacing_that_is_not_believed(folder: Path, elements: dict[str, Any], doubt: str | None) -> None:
    change(folder, None, **elements)
    reader = read(folder)[1]
    assert reader.spacing is None
    assert (doubt is None) == (reader.spacing_doubt is None)
    assert (doubt or "") in (reader.spacing_doubt or "")


# --- grey values ---


@pytest.mark.parametrize(
    ("slope", "offset", "bits", "dtype"),
    [
        (1, 0, 16, "uint16"),
        (1, -1024, 12, "int16"),
        (1, -1024, 16, "int32"),
        (1, 100, 12, "uint16"),
        (1, 0.5, 16, "float32"),
        (0.5, 0, 16, "float32"),
        (2, -1024, 12, "float32"),
    ],
)
def test_scaled_values(tmp_path: Path, slope: float, offset: float, bits: int, dtype: str) -> None:
    grey = GREY & (2**bits - 1)
    elements = {"RescaleSlope": str(slope), "RescaleIntercept": str(offset), "BitsStored": bits, "HighBit": bits - 1}
    write_slices(tmp_path, grey, SPACING, **elements)
    values, reader = read(tmp_path)
    assert values.dtype == reader.dtype == np.dtype(dtype)
    assert np.array_equal(values, grey * np.float64(slope) + offset)
    assert bool(reader.notes) == ((slope, offset) != (1, 0))


def test_values_that_are_scaled_from_slice_to_slice(folder: Path) -> None:
    change(folder, None, RescaleSlope=lambda at: 1 + at, RescaleIntercept=0)
    values, reader = read(folder)
    assert np.allclose(values, GREY * np.arange(1, 7)[:, None, None])
    assert "scaled from slice to slice, in 6 ways: kept as float32" in reader.notes[0]


@pytest.mark.parametrize("kind", ["u2", "i2"])
def test_bits_beside_the_values_are_none_of_them(tmp_path: Path, kind: str) -> None:
    grey = (GREY.astype("i4") % 4096 - (2048 if kind == "i2" else 0)).astype(kind)
    spoilt = (grey & 0x0FFF | 0x7000).astype(kind)
    write_slices(tmp_path, spoilt, SPACING, BitsStored=12, HighBit=11)
    assert np.array_equal(read(tmp_path)[0], grey)


def test_monochrome1_is_said(folder: Path) -> None:
    change(folder, None, PhotometricInterpretation="MONOCHROME1")
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert reader.notes[0].startswith("0 is shown as white (MONOCHROME1)")


def test_a_table_of_values_is_said(folder: Path) -> None:
    change(folder, None, ModalityLUTSequence=Sequence([Dataset()]))
    assert "Modality LUT) is not applied" in read(folder)[1].notes[0]


@pytest.mark.parametrize("floats", ["f4", "f8"])
def test_floats(tmp_path: Path, floats: str) -> None:
    volume = sample("float32", (4, 5, 6)).astype(floats)
    for index, values in enumerate(volume):
        made = dataset(values.view(f"u{values.itemsize}"), CTImageStorage, **place(index, SPACING))
        del made.PixelData
        setattr(made, {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}[floats], values.tobytes())
        made.save_as(tmp_path / f"{index}.dcm")
    values, _ = read(tmp_path)
    assert values.dtype == np.dtype(floats)
    assert np.array_equal(values, volume)


# --- how files are stored ---


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_byte_orders(tmp_path: Path, syntax: str) -> None:
    for index, values in enumerate(GREY):
        made = dataset(values, CTImageStorage, **place(index, SPACING))
        made.file_meta.TransferSyntaxUID = syntax
        is_little = syntax == ImplicitVRLittleEndian
        made.PixelData = values.astype("<u2" if is_little else ">u2").tobytes()
        pydicom.dcmwrite(
            tmp_path / f"{index}.dcm", made, implicit_vr=is_little, little_endian=is_little, force_encoding=True
        )
    assert np.array_equal(read(tmp_path)[0], GREY)


def test_deflated_and_lossy_are_refused(tmp_path: Path) -> None:
    made = dataset(GREY[0], CTImageStorage, **place(0, SPACING))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.save_as(tmp_path / "0.dcm")
    assert "deflated as a whole; export it without compression" in refused(tmp_path)
    made = dataset(GREY[0], CTImageStorage, **place(0, SPACING))
    made.PixelData = encapsulate([imagecodecs.jpeg8_encode((GREY[0] >> 8).astype("u1"))])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    for index in range(2):
        made.ImagePositionPatient = [0, 0, index]
        made.save_as(tmp_path / f"{index}.dcm")
    assert "which is not read (RLE, JPEG-LS, JPEG 2000 and lossless JPEG are)" in refused(tmp_path)


def test_possible_loss_is_said(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        made = dataset(values, CTImageStorage, **place(index, SPACING))
        made.PixelData = encapsulate([imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k")])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = JPEG2000
        made.save_as(tmp_path / f"{index}.dcm")
    values, reader = read(tmp_path)
    assert np.array_equal(values, GREY)
    assert "may have been packed with loss" in reader.notes[0]


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
def test_packed_frames(tmp_path: Path, has_table: bool, fragments: int) -> None:
    path = write_frames(tmp_path, GREY, SPACING)
    made = pydicom.dcmread(path)
    frames = [imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k") for values in GREY]
    made.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table)
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.save_as(path)
    if fragments > 1 and not has_table:
        assert "6 frames in 18 pieces without a table of them" in refused(path)
        return
    values, reader = read(path)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx(SPACING)


def test_packed_frames_of_another_size_are_not_unpacked(tmp_path: Path) -> None:
    frame = imagecodecs.jpeg2k_encode(np.zeros((99, 99), "u2"), level=0, reversible=True, codecformat="j2k")
    for index, values in enumerate(GREY):
        made = dataset(values, CTImageStorage, **place(index, SPACING))
        made.PixelData = encapsulate([frame])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = JPEG2000Lossless
        made.save_as(tmp_path / f"{index}.dcm")
    assert "packed pixels are 99 x 99 uint16, not 9 x 12 uint16" in refused(tmp_path)


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        made = dataset(values, CTImageStorage, **place(index, SPACING))
        made.compress(RLELossless)
        made.save_as(tmp_path / f"{index}.dcm")
    data = bytearray((tmp_path / "3.dcm").read_bytes())
    at = data.index(b"\xe0\x7f\x10\x00") + 12 + 16
    data[at : at + 64] = b"\xff" * 64
    (tmp_path / "3.dcm").write_bytes(data)
    assert "3.dcm: " in refused(tmp_path)


# --- many frames, long headers, several series ---


def test_frames_in_any_order(tmp_path: Path) -> None:
    path = write_frames(tmp_path, GREY[::-1], SPACING)
    made = pydicom.dcmread(path)
    for index, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, (5 - index) * SPACING[0]]
    made.save_as(path)
    values, reader = read(path)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx(SPACING)
    del made.PerFrameFunctionalGroupsSequence[0]
    made.save_as(path)
    assert "6 frames, described are 5" in refused(path)


def test_frames_that_are_scaled(tmp_path: Path) -> None:
    path = write_frames(tmp_path, GREY, SPACING)
    made, scaling = pydicom.dcmread(path), Dataset()
    scaling.RescaleSlope, scaling.RescaleIntercept = "1", "-5"
    made.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Sequence([scaling])
    made.save_as(path)
    values, reader = read(path)
    assert np.array_equal(values, GREY.astype("i4") - 5)
    assert reader.dtype == np.int32


def test_frames_without_places(tmp_path: Path) -> None:
    made = dataset(GREY, CTImageStorage, NumberOfFrames=6, PixelSpacing=[0.1, 0.1])
    made.save_as(tmp_path / "scan.dcm")
    values, reader = read(tmp_path / "scan.dcm")
    assert np.array_equal(values, GREY)
    assert reader.spacing is None
    assert "not how far apart" in str(reader.spacing_doubt)


@pytest.mark.parametrize("size", [70_000, 65_000, 65_240, 200_000])
def test_long_headers(tmp_path: Path, size: int) -> None:
    write_slices(tmp_path, GREY, SPACING, IconImageSequence=Sequence([icon(size)]))
    values, reader = read(tmp_path)
    assert np.array_equal(values, GREY)
    assert reader.spacing == pytest.approx(SPACING)


def icon(size: int) -> Dataset:
    made = Dataset()
    made.EncapsulatedDocument = b"\1" * size
    return made


def test_one_of_several_series(folder: Path) -> None:
    write_slices(
        folder,
        GREY[:4] + 1,
        SPACING,
        "B{index}.dcm",
        SeriesInstanceUID="1.2.3",
        SeriesNumber=7,
        SeriesDescription="140kV",
    )
    text = refused(folder)
    assert "2 DICOM series: 7 (140kV) of 4 files, 2 of 6 files" in text
    assert 'choose one with series "2"' in text
    for name in ("7", "140kv", "1.2.3"):
        values, reader = read(folder, series=name)
        assert np.array_equal(values, GREY[:4] + 1)
        assert reader.description == "DICOM series 7 (140kV) of 4 slices"
    assert np.array_equal(read(folder, series="2")[0], GREY)
    assert "none is called '3'" in refused(folder, series="3")
    names = [path.name for path in folder.iterdir()]
    assert series_of_slices(Location.parse(folder), names) == {"2": 6, "7": 4}


def test_files_without_pictures(folder: Path) -> None:
    report = dataset(GREY[0], CTImageStorage, Modality="SR", SeriesInstanceUID="1.2.4", Rows=None)
    del report.PixelData
    report.save_as(folder / "report.dcm")
    values, reader = read(folder)
    assert np.array_equal(values, GREY)
    assert reader.notes == ("1 DICOM files without pictures are not read",)
    no_picture = dataset(GREY[0], CTImageStorage)
    del no_picture.PixelData
    no_picture.save_as(folder / "zzz.dcm")
    assert "zzz.dcm: truncated, " in refused(folder)
    (folder / "zzz.dcm").write_bytes(b"text")
    assert "zzz.dcm: not a DICOM file" in refused(folder)


def test_two_thousand_slices_are_opened_quickly(tmp_path: Path) -> None:
    made = dataset(GREY[0], CTImageStorage, **place(0, SPACING))
    for index in range(2000):
        made.ImagePositionPatient = [0, 0, f"{index * 0.02:.4f}"]
        made.save_as(tmp_path / f"{index}.dcm")
    began = time.monotonic()
    with open_scan(str(tmp_path)) as reader:
        assert reader.shape[0] == 2000
    assert time.monotonic() - began < 120  # by steps that grow with the square it would be minutes
