"""Volumes written as HDF5: what other programs find there, and that nothing but our own is replaced."""

from __future__ import annotations

import resource

import h5py
import numpy as np
import pytest
import tifffile

from ps3d_core.errors import InputError, NoSpaceError
from ps3d_core.params import ExportParams
from ps3d_core.scan.authorship import hdf5_is_marked
from ps3d_core.scan.export import export
from ps3d_core.scan.slabs import OVERHEAD
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location

SPACING = (0.02, 0.0125, 0.005)
VOXELS = np.random.default_rng(0).integers(0, 60_000, (13, 600, 530)).astype(np.uint16)
HDF5 = ExportParams(format="hdf5")


def source(tmp_path, values=VOXELS):
    tifffile.imwrite(tmp_path / "scan.tif", values, photometric="minisblack")
    return tmp_path / "scan.tif"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "uint64", "float32", "float64"])
def test_comes_back(tmp_path, dtype):
    values = (VOXELS[:, :30, :40] % 100).astype(dtype)
    summary = export(source(tmp_path, values), tmp_path / "out.h5", HDF5.model_copy(update={"spacing": SPACING}))
    assert (summary.shape, summary.dtype, summary.spacing) == (values.shape, dtype, SPACING)
    with open_scan(tmp_path / "out.h5") as reader:
        assert reader.dtype == dtype
        assert np.array_equal(reader.read(0, 13), values)
        assert reader.spacing == pytest.approx(SPACING, rel=1e-12)
        assert reader.notes == ()


def test_as_h5py_reads_it(tmp_path):
    export(source(tmp_path), tmp_path / "out.nxs", HDF5.model_copy(update={"spacing": SPACING}))
    with h5py.File(tmp_path / "out.nxs") as file:
        group = file[file.attrs["default"]]
        group = group[group.attrs["default"]]
        data = group[group.attrs["signal"]]
        assert (data.name, data.dtype) == ("/entry/data/data", np.dtype("<u2"))
        assert np.array_equal(data[()], VOXELS)
        for axis, side, length in zip(group.attrs["axes"], SPACING, VOXELS.shape, strict=True):
            assert np.allclose(group[axis][()], np.arange(length) * side)
            assert group[axis].attrs["units"] == group[f"{axis}_pixel_size"].attrs["units"] == "mm"
            assert group[f"{axis}_pixel_size"][()] == side


def test_unknown_spacing_is_not_invented(tmp_path):
    export(source(tmp_path, VOXELS[:, :9, :8]), tmp_path / "out.h5", HDF5)
    with open_scan(tmp_path / "out.h5") as reader:
        assert (reader.spacing, reader.notes) == (None, ())


def test_one_voxel_wide(tmp_path):
    values = VOXELS[:, :9, :1]
    params = HDF5.model_copy(update={"spacing": SPACING})
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["v"] = values
    export(f"{tmp_path / 'scan.h5'}:/v", tmp_path / "out.h5", params)
    with open_scan(f"{tmp_path / 'out.h5'}:/entry/data/data") as reader:
        assert reader.spacing == SPACING
        assert np.array_equal(reader.read(0, 13), values)


def test_the_file_does_not_depend_on_the_slab(tmp_path):
    export(source(tmp_path), tmp_path / "one.h5", HDF5)
    export(tmp_path / "scan.tif", tmp_path / "two.h5", HDF5, memory_bytes=OVERHEAD + 6 * VOXELS[0].nbytes)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_only_our_own_is_replaced(tmp_path):
    export(source(tmp_path, VOXELS[:, :9, :8]), tmp_path / "out.h5", HDF5)
    assert hdf5_is_marked(Location.parse(tmp_path / "out.h5"))
    assert not hdf5_is_marked(Location.parse(tmp_path / "scan.tif"))
    with pytest.raises(InputError, match="already exists"):
        export(tmp_path / "scan.tif", tmp_path / "out.h5", HDF5)
    replace = HDF5.model_copy(update={"overwrite": True})
    export(tmp_path / "scan.tif", tmp_path / "out.h5", replace)
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["v"] = VOXELS
    with pytest.raises(InputError):
        export(tmp_path / "scan.tif", tmp_path / "theirs.h5", replace)
    with h5py.File(tmp_path / "theirs.h5") as file:
        assert np.array_equal(file["v"][()], VOXELS)


@pytest.mark.parametrize(
    ("name", "form", "says"),
    [
        ("out.hdr5", "hdf5", r"must end in \.h5, \.hdf5 or \.nxs"),
        ("out.h5", "zarr", "named like hdf5, to be written as zarr"),
        ("out.tif", "hdf5", "named like tiff, to be written as hdf5"),
    ],
)
def test_names(tmp_path, name, form, says):
    with pytest.raises(InputError, match=says):
        export(source(tmp_path, VOXELS[:, :9, :8]), tmp_path / name, ExportParams(format=form))


def test_from_and_to_a_store(tmp_path):
    with pytest.raises(InputError, match="needs a local folder"):
        export(source(tmp_path, VOXELS[:, :9, :8]), "memory://hdf5-export/out.h5", HDF5)


def test_a_full_disk(tmp_path):
    source(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(NoSpaceError, match=r"out\.h5: file too large"):
            export(tmp_path / "scan.tif", tmp_path / "out.h5", HDF5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.tif"]
    export(tmp_path / "scan.tif", tmp_path / "out.h5", HDF5)  # the library is none the worse
