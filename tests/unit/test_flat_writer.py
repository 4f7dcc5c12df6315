"""MetaImage and NRRD as other programs read what is written here."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from ps3d_core.errors import InputError
from ps3d_core.params import ExportParams
from ps3d_core.scan.export import export
from ps3d_core.scan.flat_writer import write_mha, write_nrrd
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

GREY = np.random.default_rng(0).integers(0, 120, (7, 11, 13))
SPACING = (0.03, 0.0125, 1 / 3)
WRITERS = {"mha": write_mha, "nrrd": write_nrrd}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


@pytest.fixture
def scan(tmp_path: Path) -> Location:
    place = Location.parse(tmp_path / "scan.zarr")
    create_image(place, GREY.shape, "uint16", spacing=SPACING, name="scan")[:] = GREY.astype("uint16")
    return place


@pytest.mark.parametrize("form", ["mha", "nrrd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_others_read_what_is_written(tmp_path: Path, dtype: str, form: str) -> None:
    source, path = Location.parse(tmp_path / "scan.zarr"), tmp_path / f"scan.{form}"
    values = GREY.astype(dtype)
    create_image(source, values.shape, dtype, spacing=SPACING, name="scan")[:] = values
    summary = export(source, path, ExportParams(format=form))
    assert (summary.format, summary.dtype, summary.spacing) == (form, dtype, SPACING)

    image = sitk.ReadImage(path)
    assert sitk.GetArrayFromImage(image).dtype == dtype
    assert np.array_equal(sitk.GetArrayFromImage(image), values)
    assert image.GetSpacing() == pytest.approx(SPACING[::-1])
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    if form == "nrrd":
        theirs, header = nrrd.read(str(path), index_order="C")
        assert theirs.dtype == dtype
        assert np.array_equal(theirs, values)
        assert np.allclose(header["space directions"], np.diag(SPACING[::-1]))
        assert header["space units"] == ["mm"] * 3
    with open_scan(path) as reader:
        assert reader.spacing == SPACING  # to the last bit
        assert (reader.dtype, reader.notes) == (values.dtype, ())
        assert np.array_equal(reader.read(0, 7), values)


@pytest.mark.parametrize("form", ["mha", "nrrd"])
def test_without_a_spacing(tmp_path: Path, form: str) -> None:
    (tmp_path / "scan.raw").write_bytes(GREY.astype("uint8").tobytes())
    export(tmp_path / "scan.raw", tmp_path / f"scan.{form}", ExportParams(format=form, raw="7x11x13,uint8"))
    with open_scan(tmp_path / f"scan.{form}") as reader:
        assert reader.spacing is None
        assert np.array_equal(reader.read(0, 7), GREY)
    assert sitk.ReadImage(tmp_path / f"scan.{form}").GetSpacing() == (1, 1, 1)


@pytest.mark.parametrize("form", ["mha", "nrrd"])
def test_headers_of_volumes_above_4_gib(tmp_path: Path, form: str) -> None:
    shape, path = (40_000, 3000, 70_000), tmp_path / f"big.{form}"
    WRITERS[form](Location.parse(path), iter(()), shape, np.dtype("float64"), Placed(SPACING))
    with path.open("r+b") as file:
        file.truncate(2**33)
    if form == "nrrd":
        assert list(nrrd.read_header(str(path))["sizes"]) == [70_000, 3000, 40_000]
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    assert reader.GetSize() == (70_000, 3000, 40_000)
    with pytest.raises(InputError, match="truncated"):
        open_scan(path)


@pytest.mark.parametrize("form", ["mha", "nrrd"])
def test_a_sparse_file_above_4_gib_is_read_at_its_end(tmp_path: Path, form: str) -> None:
    shape, path = (1200, 2048, 2048), tmp_path / f"big.{form}"
    WRITERS[form](Location.parse(path), iter(()), shape, np.dtype("uint8"), Placed(None))
    last = np.arange(2048 * 2048, dtype="uint32").astype("uint8").reshape(1, 2048, 2048)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size + 1199 * 2048 * 2048)
        file.write(last.tobytes())
    with open_scan(path) as reader:
        assert np.array_equal(reader.read(1199, 1200), last)


@pytest.mark.parametrize("form", ["mha", "nrrd"])
def test_only_what_was_written_here_is_replaced(tmp_path: Path, scan: Location, form: str) -> None:
    path = tmp_path / f"out.{form}"
    export(scan, path, ExportParams(format=form))
    export(scan, path, ExportParams(format=form, overwrite=True))
    sitk.WriteImage(sitk.GetImageFromArray(GREY.astype("uint8")), path)
    with pytest.raises(InputError, match="ps3d"):
        export(scan, path, ExportParams(format=form, overwrite=True))
    assert sitk.GetArrayFromImage(sitk.ReadImage(path)).dtype == "uint8"


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("scan.mhd", "mha", r"a file of format mha must end in \.mha; name it so"),
        ("scan.nhdr", "nrrd", r"must end in \.nrrd"),
        ("scan", "mha", r"must end in \.mha"),
        ("scan.nrrd", "mha", "named like nrrd, to be written as mha"),
        ("scan.mha", "tiff", "named like mha, to be written as tiff"),
    ],
)
def test_names(tmp_path: Path, scan: Location, name: str, form: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        export(scan, tmp_path / name, ExportParams(format=form))
