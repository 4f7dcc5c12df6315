"""NIfTI as other programs see it: nibabel and SimpleITK agree with this project on axes, type and spacing."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ps3d_core.params import ExportParams
from ps3d_core.scan.export import export
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

GREY = np.random.default_rng(0).integers(0, 120, (7, 11, 13))
SPACING = (0.03, 0.0125, 0.0075)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"],
)
def test_what_is_written(tmp_path: Path, dtype: str, ending: str) -> None:
    source, path = Location.parse(tmp_path / "scan.zarr"), tmp_path / f"scan{ending}"
    values = GREY.astype(dtype)
    create_image(source, values.shape, dtype, spacing=SPACING, name="scan")[:] = values
    export(source, path, ExportParams(format="nifti"))

    theirs = nib.load(path)
    assert np.array_equal(np.asarray(theirs.dataobj), values.T)
    assert theirs.get_data_dtype() == dtype
    assert theirs.header.get_zooms() == pytest.approx(SPACING[::-1])
    assert theirs.header.get_xyzt_units()[0] == "mm"

    image = sitk.ReadImage(path)
    assert np.array_equal(sitk.GetArrayFromImage(image), values)
    assert sitk.GetArrayFromImage(image).dtype == dtype
    assert image.GetSpacing() == pytest.approx(SPACING[::-1])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32"])
def test_what_simpleitk_writes(tmp_path: Path, dtype: str, ending: str) -> None:
    image = sitk.GetImageFromArray(GREY.astype(dtype))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((1.0, -2.0, 3.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, tmp_path / f"scan{ending}")
    with open_scan(tmp_path / f"scan{ending}") as reader:
        assert reader.spacing == pytest.approx(SPACING)
        assert reader.dtype == dtype
        assert np.array_equal(reader.read(0, len(GREY)), GREY)
