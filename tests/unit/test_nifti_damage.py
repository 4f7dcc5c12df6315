"""NIfTI files with damage or with headers that say something odd: refused or said, never believed in silence."""

from __future__ import annotations

import gzip
import random
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan

GREY = np.random.default_rng(0).integers(0, 60000, (12, 20, 25)).astype(np.uint16)
RAW: bytes = nib.Nifti1Image(GREY.T, np.diag([0.01, 0.01, 0.01, 1])).to_bytes()
PACKED = {
    "one member": gzip.compress(RAW, mtime=0),
    "several members": gzip.compress(RAW[:300]) + gzip.compress(RAW[300:5000]) + gzip.compress(RAW[5000:]),
    "stored": gzip.compress(RAW, 0),
}
HEADER, FILL = 10, 3
"""Length of a header of gzip, and where in the byte after it the bits begin that fill it up before a stored block."""
UNCHECKED = range(3, 10)  # flags, time and system in the header of gzip: they have no checksum, nor any meaning here


def slabs(path: Path, order: list[int]) -> np.ndarray:
    """The volume, read four slices at a time in this order."""
    with open_scan(str(path)) as reader:
        ends = {start: start + 4 for start in order} | {max(order): reader.shape[0]}
        parts = {start: reader.read(start, min(ends[start], reader.shape[0])) for start in order}
        return np.concatenate([parts[start] for start in sorted(parts)])


@pytest.mark.parametrize("order", [[0, 4, 8], [8, 0, 4], [4, 8, 0]])
@pytest.mark.parametrize("form", PACKED)
def test_whatever_the_order(tmp_path: Path, form: str, order: list[int]) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(PACKED[form] + bytes(64))  # padding is allowed
    assert np.array_equal(slabs(tmp_path / "scan.nii.gz", order), GREY)


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(PACKED)), st.floats(0, 0.999999), st.integers(0, 7), st.sampled_from([[0, 4, 8], [8, 4, 0]])
)
def test_one_flipped_bit_is_never_a_wrong_voxel(
    tmp_path: Path, form: str, place: float, bit: int, order: list[int]
) -> None:
    data = bytearray(PACKED[form])
    at = int(len(data) * place**3)  # most of them in the header
    data[at] ^= 1 << bit
    (tmp_path / "scan.nii.gz").write_bytes(data)
    try:
        whole = slabs(tmp_path / "scan.nii.gz", order)
    except InputError:
        return
    assert np.array_equal(whole, GREY)
    assert at in UNCHECKED or form == "several members" or (form == "stored" and (at, bit >= FILL) == (HEADER, True))


@pytest.mark.parametrize("form", PACKED)
def test_checksum_and_length_at_the_end(tmp_path: Path, form: str) -> None:
    path, whole = tmp_path / "scan.nii.gz", PACKED[form]
    wrong = [whole[:-n] for n in (1, 4, 8)] + [whole + b"rest", whole + gzip.compress(b"more"), whole + whole]
    for at in range(1, 9):
        data = bytearray(whole)
        data[-at] ^= 1 << random.Random(at).randrange(8)
        wrong.append(bytes(data))
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"scan\.nii\.gz"):
            slabs(path, [0, 4, 8])


def test_a_damaged_file_publishes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(PACKED["one member"])
    data[-6] ^= 1
    (tmp_path / "scan.nii.gz").write_bytes(data)
    ingest = ["ingest", f"{tmp_path}/scan.nii.gz", f"{tmp_path}/data", "--name", "a", "--particle-size", "0.05"]
    assert main(ingest) == 2
    for form, name in (("tiff", "slices"), ("tiff", "one.tif"), ("nifti", "out.nii"), ("zarr", "out.zarr")):
        assert main(["export", f"{tmp_path}/scan.nii.gz", f"{tmp_path}/{name}", "--format", form]) == 2
    assert capsys.readouterr().err.count("damaged (CRC check failed") == 5
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def patched(path: Path, offset: int, form: str, *values: float) -> Path:
    data = bytearray(RAW)
    struct.pack_into(f"<{form}", data, offset, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "form", "values", "says"),
    [
        (40, "5h", (3, 25, 20, 6, 2), "more bytes than"),
        (40, "h", (2,), "one 2-D slice"),
        (40, "h", (4,), None),
        (46, "h", (13,), "truncated"),
        (46, "h", (0,), "an axis without voxels"),
        (46, "h", (-12,), "an axis without voxels"),
        (42, "3h", (32767, 32767, 32767), "truncated"),
        (70, "h", (2,), "voxels of 16 bits and of type uint8"),
        (70, "h", (9999,), "not a NIfTI file"),
        (72, "h", (32,), "voxels of 32 bits and of type uint16"),
        (108, "f", (368,), "truncated"),
        (112, "2f", (np.inf, 0), "scaled by inf above 0"),
        (112, "2f", (2, np.nan), "scaled by 2.0 above nan"),
    ],
)
def test_headers_that_contradict_the_file(
    tmp_path: Path, offset: int, form: str, values: tuple[float, ...], says: str | None
) -> None:
    path = patched(tmp_path / "scan.nii", offset, form, *values)
    if says is None:
        assert np.array_equal(slabs(path, [0, 4, 8]), GREY)
        return
    with pytest.raises(InputError, match=says) as caught:
        slabs(path, [0, 4, 8])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("offset", "form", "values", "says"),
    [
        (80, "3f", (0, 0, 0), "0, 0, 0 .* must be above 0"),
        (80, "3f", (-0.01, 0.01, 0.01), "must be above 0"),
        (80, "f", (np.nan,), "must be above 0"),
        (80, "f", (np.inf,), "must be above 0"),
        (80, "3f", (0.02, 0.02, 0.02), "its sform says 0.01, 0.01, 0.01"),
        (123, "B", (5,), "unit 5 is none of NIfTI's"),
    ],
)
def test_spacing_that_is_not_believed(
    tmp_path: Path, offset: int, form: str, values: tuple[float, ...], says: str
) -> None:
    path = patched(tmp_path / "scan.nii", offset, form, *values)
    with open_scan(str(path)) as reader:
        assert reader.spacing is None
        with pytest.raises(InputError, match=says):
            raise InputError(reader.notes[0])


@pytest.mark.parametrize(("unit", "mm"), [(0, 0.01), (1, 10.0), (2, 0.01), (3, 0.00001), (2 + 8, 0.01)])
def test_units(tmp_path: Path, unit: int, mm: float) -> None:
    with open_scan(str(patched(tmp_path / "scan.nii", 123, "B", unit))) as reader:
        assert reader.spacing == pytest.approx((mm, mm, mm))


@pytest.mark.parametrize("slope", [0, np.nan])
def test_an_intercept_without_a_slope_is_said(tmp_path: Path, slope: float) -> None:
    path = patched(tmp_path / "scan.nii", 112, "2f", slope, 7)
    assert np.array_equal(slabs(path, [0, 4, 8]), GREY)
    with open_scan(str(path)) as reader:
        assert reader.notes == ("scl_inter 7 without a slope is not applied",)


@pytest.mark.parametrize(
    ("affine", "says"),
    [
        (np.diag([0.01, 0.01, 0.01, 1]), ()),
        (np.diag([-0.01, 0.01, 0.01, 1]), ("its header mirrors the axes; they are taken as stored",)),
        (np.diag([0.01, 0.01, 0.01, 1])[[1, 0, 2, 3]], ("its header turns the axes; they are taken as stored",)),
    ],
)
def test_turned_and_mirrored_axes_are_said(tmp_path: Path, affine: np.ndarray, says: tuple[str, ...]) -> None:
    nib.save(nib.Nifti1Image(GREY.T, affine), tmp_path / "scan.nii")
    with open_scan(str(tmp_path / "scan.nii")) as reader:
        assert reader.notes == says
        assert reader.spacing == pytest.approx((0.01, 0.01, 0.01))
        assert np.array_equal(reader.read(0, 12), GREY)


def test_a_tiny_file_of_a_huge_volume(tmp_path: Path) -> None:
    header = bytearray(RAW[:352])
    struct.pack_into("<3h", header, 42, 32767, 32767, 32767)
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(bytes(header) + bytes(100)))
    with pytest.raises(InputError, match=r"truncated, .* bytes do not hold"):
        open_scan(str(tmp_path / "scan.nii.gz"))
