"""`import ps3d_core as ps3d`: the pipeline from Python, on arrays, paths and URLs."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import dask.array
import numpy as np
import pytest
import zarr

import ps3d_core as ps3d
from ps3d_core.params import IngestParams
from ps3d_core.scan.ingest import ingest
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tests.unit.workspace import grey_values, particles, write_slices, write_zarr

SIZES = {"spacing": 0.01, "particle_size": 0.1}
PARAMS = ps3d.SegmentParams(
    predict=ps3d.PredictParams(mirror=False, device="cpu"),
    instances=ps3d.InstancesParams(least_certainty=0),  # of particles of 10 voxels in 40 cubed the network is not sure
)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, object]:
    """One scan in every form."""
    folder = tmp_path_factory.mktemp("scans")
    grey = grey_values()
    write_slices(folder / "slices", grey)
    write_zarr(folder / "scan.zarr", grey)
    return {
        "numpy": grey,
        "fortran": np.asfortranarray(grey),
        "dask": dask.array.from_array(grey, chunks=(5, 7, 9)),
        "zarr": zarr.open_array(folder / "scan.zarr" / "0", mode="r"),
        "zarr in memory": zarr.create_array({}, data=grey, chunks=(8, 8, 8)),
        "path": folder / "slices",
        "text": str(folder / "scan.zarr"),
    }


@pytest.mark.parametrize("form", ["numpy", "fortran", "dask", "zarr", "zarr in memory", "path", "text"])
def test_every_form_of_a_scan_has_the_same_voxels(given, form, tmp_path):
    with ps3d.open_scan(given[form]) as scan:
        assert scan.shape == grey_values().shape
        np.testing.assert_array_equal(scan.read(3, 9), grey_values()[3:9])
    dataset = Dataset(Location.parse(tmp_path))
    ingest(given[form], dataset, "ore", IngestParams(**SIZES))
    digest = zarr.open_group(tmp_path / "images" / "ore.zarr", mode="r").attrs["ps3d"]["sha256"]
    ingest(given["numpy"], dataset, "same", IngestParams(**SIZES))
    assert zarr.open_group(tmp_path / "images" / "same.zarr", mode="r").attrs["ps3d"]["sha256"] == digest


def test_from_an_array_to_labels_table_and_report(tmp_path):
    result = ps3d.segment(grey_values(), params=PARAMS, **SIZES)
    assert result.labels.shape == grey_values().shape
    assert result.labels.dtype == np.uint32
    assert result.labels[...].max() == result.particles == result.table.num_rows
    assert result.report().html.startswith("<!doctype html>")
    assert result.report()._repr_html_().startswith("<iframe sandbox srcdoc=")
    result.report().save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == result.report().html
    assert "A-17" in result.report({"id": "A-17", "mass": 2.5}).html
    assert result.record.sample == {"id": "A-17", "mass": "2.5"}
    with pytest.raises(ps3d.InputError, match="date 'soon': must be like"):
        result.report({"date": "soon"})
    place, labels = result.result.root, result.labels
    del result
    gc.collect()
    assert labels[...].any(), "the array keeps what it lies in"
    del labels
    gc.collect()
    assert not place.exists()


def test_a_result_in_a_folder_is_not_made_twice(tmp_path):
    folder = tmp_path / "out"
    result = ps3d.segment(grey_values(), output=str(folder), params=PARAMS, **SIZES)
    again = ps3d.segment(grey_values(), output=str(folder), params=PARAMS, **SIZES)
    assert again.record == result.record
    assert sorted(path.name for path in folder.iterdir()) == ["dataset", "scan"]
    with pytest.raises(ps3d.InputError, match="another scan 'scan' is there; give another output"):
        ps3d.segment(grey_values()[::-1], output=str(folder), params=PARAMS, **SIZES)
    with pytest.raises(ps3d.InputError, match=r"a spacing of 0\.01 mm .*give another output"):
        ps3d.segment(grey_values(), output=str(folder), params=PARAMS, spacing=0.02, particle_size=0.1)


def test_a_failed_call_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ps3d.InputError, match=r"2-dimensional \(40, 32\); must be one volume"):
        ps3d.segment(grey_values()[0], params=PARAMS, **SIZES)
    with pytest.raises(ps3d.InputError, match="no such file or folder"):
        ps3d.segment(tmp_path / "nowhere", params=PARAMS, **SIZES)
    assert not list(tmp_path.iterdir())


def test_single_steps():
    labels = particles()
    table = ps3d.measure(labels, spacing=0.01, image=grey_values())
    assert table.column("label").to_pylist() == [1, 2]
    assert table.column("voxels").to_pylist() == [512, 1000]
    inside = grey_values()[labels == 1]
    assert table.column("grey_mean")[0].as_py() == pytest.approx(inside.mean())
    assert ps3d.evaluate(labels, labels).f1 == 1
    classes = np.minimum(labels, 2).astype(np.uint8)
    classes[labels == 2] = 2
    classes[14:20, 14:20, 14:20] = 1
    np.testing.assert_array_equal(ps3d.instances(classes)[...] > 0, labels > 0)
    with pytest.raises(ps3d.InputError, match="array: the source does not say its spacing; give spacing in mm"):
        ps3d.measure(labels)


def test_names_are_lazy_complete_and_nothing_else_is_promised():
    code = (
        "import sys, ps3d_core as ps3d; assert not {'torch', 'prefect', 'zarr', 'numpy'} & sys.modules.keys();"
        "import ps3d_core.pipeline;"
        "[getattr(ps3d, name) for name in ps3d.__all__]; assert callable(ps3d.instances);"
        "assert set(ps3d.__all__) <= set(dir(ps3d)); assert 'prefect' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        ps3d.segmnt  # noqa: B018


def test_the_package_says_that_it_is_typed():
    assert (Path(ps3d.__file__).parent / "py.typed").exists()
