"""Voxels, type and spacing outlast any two exports, one after the other."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from ps3d_core.params import ExportParams
from ps3d_core.scan.export import export
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from tests.formats.file_format import DTYPES, SPACING, sample


class Form(NamedTuple):
    """A format of exports, a name of what it writes, and whether it keeps the spacing."""

    format: str
    name: str
    keeps_spacing: bool = True


FORMS = [
    Form("tiff", "scan.tif"),
    Form("tiff", "scan.ome.tif"),
    Form("tiff", "scan.btf"),
    Form("tiff", "slices", keeps_spacing=False),
    Form("nifti", "scan.nii"),
    Form("nifti", "scan.nii.gz"),
    Form("zarr", "scan.zarr"),
]
"""Of every format that is written; one line each."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "second"), list(product(FORMS, FORMS)), ids=lambda form: form.name)
def test_two_exports(tmp_path, first, second, dtype):
    values = sample(dtype, (9, 14, 11))
    source, between, last = tmp_path / "source.zarr", tmp_path / "1" / first.name, tmp_path / "2" / second.name
    create_image(Location.parse(source), values.shape, values.dtype, spacing=SPACING, name="scan")[...] = values
    export(str(source), str(between), ExportParams(format=first.format))
    export(str(between), str(last), ExportParams(format=second.format))
    with open_scan(last) as reader:
        assert (reader.shape, reader.dtype) == (values.shape, values.dtype)
        np.testing.assert_array_equal(reader.read(0, len(values)), values)
        kept = first.keeps_spacing and second.keeps_spacing
        assert reader.spacing == (pytest.approx(SPACING, rel=1e-6) if kept else None)
