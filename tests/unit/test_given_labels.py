"""Label images that somebody gives to `ps3d measure`, `evaluate` and `instances`: any format, and only labels."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr

from ps3d_core.particles.plausible import doubt_about
from ps3d_core.progress import Noted, Progress
from ps3d_core.scan.as_image import as_image
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, open_image
from ps3d_core.store.publishing import RECEIPT
from ps3d_core.store.whole import digest_of
from tests.unit.labelled import sums_of, voronoi
from tests.unit.test_cli import one_line, ps3d

SHAPE = (24, 40, 32)
LABELS = voronoi(SHAPE, 12, seed=3)


@pytest.fixture
def given(tmp_path):
    """The same labels in many formats."""
    values = LABELS.astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", values)
    tifffile.imwrite(tmp_path / "float.tif", values.astype(np.float32))
    (tmp_path / "slices").mkdir()
    for z, page in enumerate(values):
        tifffile.imwrite(tmp_path / "slices" / f"s{z:03}.tif", page)
    nib.save(nib.Nifti1Image(values.T.astype(np.int32), np.diag([0.01, 0.01, 0.01, 1])), tmp_path / "packed.nii.gz")
    zarr.create_array(tmp_path / "bare.zarr", data=values, chunks=(8, 8, 8))
    zarr.create_array(tmp_path / "float.zarr", data=values.astype(">f8"), chunks=(8, 8, 8), zarr_format=2, order="F")
    return tmp_path


FORMATS = ("stack.tif", "float.tif", "slices", "packed.nii.gz", "bare.zarr", "float.zarr")


def test_any_format_is_measured_and_evaluated_the_same(given, capsys):
    tables = []
    before = sorted(given.iterdir())
    for name in FORMATS:
        assert (
            ps3d("measure", f"{given / name}", f"{given}/table", "--spacing", "0.01", "--image", f"{given / name}") == 0
        )
        assert capsys.readouterr().out.startswith(f"{name}: 12 particles")
        tables.append((given / "table" / "particles.csv").read_bytes())
        assert sorted(path.name for path in (given / "table").iterdir()) == [
            RECEIPT,
            "particles.csv",
            "particles.parquet",
        ]
        assert ps3d("evaluate", f"{given / name}", f"{given}/bare.zarr", "--json") == 0
        assert json.loads(capsys.readouterr().out)["f1"] == 1
    assert len(set(tables)) == 1
    assert sorted(given.iterdir()) == [*before, given / "table"]


def test_the_spacing_of_another_format_is_used(given, capsys):
    assert ps3d("measure", f"{given}/packed.nii.gz", f"{given}/table") == 0
    capsys.readouterr()
    assert ps3d("measure", f"{given}/stack.tif", f"{given}/other") == 2
    assert "does not say its spacing; give --spacing in mm" in one_line(capsys)


def test_border_cores_of_another_format(tmp_path, capsys):
    classes = np.zeros(SHAPE, np.uint8)
    classes[4:14, 4:14, 4:14], classes[6:12, 6:12, 6:12] = 2, 1
    tifffile.imwrite(tmp_path / "bc.tif", classes)
    small = ["--workers", "1", "--memory", "1"]
    assert ps3d("instances", f"{tmp_path}/bc.tif", f"{tmp_path}/particles.zarr", *small) == 0
    assert capsys.readouterr().out.startswith("1 particles from 1 cores")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "particles.zarr")[:], (classes > 0).astype(np.uint32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bc.tif", "particles.zarr"]


def test_a_copy_is_made_once_and_again_when_it_or_its_version_changes(given, monkeypatch):
    source, work = Location.parse(given / "packed.nii.gz"), Location.parse(given / "work")
    copy = as_image(source, work)
    whole = digest_of(copy)
    (copy / "0" / "zarr.json").write_bytes(b"{")
    assert as_image(source, work) == copy
    assert digest_of(copy) == whole
    monkeypatch.setattr("ps3d_core.scan.as_image.VERSION", 99)
    assert as_image(source, work) != copy


def test_a_copy_is_made_once_and_again_when_the_source_changes(given):
    source, work = Location.parse(given / "packed.nii.gz"), Location.parse(given / "work")
    stages = []
    progress = Progress(stages.append)
    copy = as_image(source, work, progress=progress)
    np.testing.assert_array_equal(open_image(copy)[:], LABELS)
    assert image_spacing(copy) == pytest.approx((0.01, 0.01, 0.01))
    told = len(stages)
    assert as_image(source, work, progress=progress) == copy
    assert len(stages) == told
    nib.save(nib.Nifti1Image(np.zeros((5, 5, 5), np.int32), np.eye(4)), given / "packed.nii.gz")
    assert as_image(source, work) != copy


def test_absent_chunks_of_labels_are_said(given, capsys):
    values = np.where(LABELS == 1, LABELS, 0)
    zarr.create_array(given / "few.zarr", shape=SHAPE, dtype="u4", chunks=(8, 8, 8))[:] = values
    notes = []
    as_image(
        Location.parse(given / "few.zarr"),
        Location.parse(given / "work"),
        progress=Progress(lambda event: notes.append(event.text) if isinstance(event, Noted) else None),
    )
    (note,) = notes
    assert note.endswith("of 60 chunks are absent and read as 0")


def test_labels_that_are_not_whole_are_named(given, capsys):
    values = LABELS.astype(np.float32)
    values[3, 3, 3] = 2.5
    zarr.create_array(given / "grey.zarr", data=values, chunks=(8, 8, 8))
    for arguments in (
        ("measure", f"{given}/grey.zarr", f"{given}/t", "--spacing", "1"),
        ("evaluate", *[f"{given}/grey.zarr"] * 2),
    ):
        assert ps3d(*arguments) == 2
        assert "value 2.5: labels are whole numbers" in capsys.readouterr().err.splitlines()[-1]


def test_errors_name_what_was_given_and_not_its_copy(tmp_path, capsys):
    values = LABELS.astype(np.float32)
    values[3, 3, 3] = 2.5
    tifffile.imwrite(tmp_path / "grey.tif", values)
    tifffile.imwrite(tmp_path / "classes.tif", np.full(SHAPE, 7, np.uint8))
    for command, name in (
        (["measure", f"{tmp_path}/grey.tif", f"{tmp_path}/t", "--spacing", "1"], "grey.tif"),
        (["evaluate", f"{tmp_path}/grey.tif", f"{tmp_path}/grey.tif"], "grey.tif"),
        (["instances", f"{tmp_path}/classes.tif", f"{tmp_path}/p", "--workers", "1", "--memory", "1"], "classes.tif"),
    ):
        assert ps3d(*command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{tmp_path}/{name}" in line
        assert "copy-" not in line


def test_a_scan_is_no_label_image(tmp_path, capsys):
    scan = Location.parse(tmp_path / "ore.zarr")
    array = create_image(scan, SHAPE, np.uint16, spacing=0.01, name="ore", attributes={"ps3d": {"ingested": "today"}})
    array[:] = LABELS
    for arguments in (
        ("measure", f"{scan}", f"{tmp_path}/t"),
        ("evaluate", f"{scan}", f"{scan}"),
        ("instances", f"{scan}", f"{tmp_path}/p"),
    ):
        assert ps3d(*arguments) == 2
        assert "a scan of grey values, its metadata say; give a label image" in one_line(capsys)


def doubt(labels):
    return doubt_about([sums_of(labels)], labels.shape)


def test_particles_raise_no_doubt():
    for seed in range(5):
        for particles in (3, 12, 200):
            assert doubt(voronoi(SHAPE, particles, seed)) is None
    flake = np.zeros((40, 40, 40), np.uint32)
    flake[np.abs(np.indices(flake.shape).sum(0) - 60) < 2] = 1
    flake[0, 0, 0] = 2
    assert doubt(flake) is None
    assert doubt(np.zeros(SHAPE, np.uint32)) is None


@pytest.mark.parametrize("spread", [40, 400, 4000])
def test_grey_values_are_no_particles(spread):
    grey = np.random.default_rng(0).normal(20000, spread, SHAPE).astype(np.uint32)
    for values in (grey, 1 + np.arange(grey.size, dtype=np.uint32).reshape(SHAPE)):
        found = doubt(values)
        assert found is not None
        assert found.certain
        assert found.text.endswith("grey values, not particles")


SOMEWHERE = (slice(10, 20),) * 3
BACKGROUND = np.full((40, 40, 40), 999)
BACKGROUND[SOMEWHERE] = 4
SINGLE = np.where(BACKGROUND == 4, 7, 0)
LARGE = np.zeros((40, 40, 40), np.int64)
LARGE[1:39, 1:39, 1:39], LARGE[0, 0, 0] = 3, 1
NO_PARTICLES = {
    "one label only, 255, in 60% of the volume": np.where(LABELS > 0, 255, 0),
    "one label only, 1, in 100% of the volume": np.ones(SHAPE, np.int64),
    "labels 1, 2, 3 only, all in the same place: are they classes?": np.where(LABELS > 0, LABELS % 3 + 1, 0),
    "labels 1, 2, 3, 4 only, all in the same place: are they classes?": np.indices(SHAPE).sum(axis=0) // 5 % 4 + 1,
    "label 999 fills 98% of the volume: background": BACKGROUND,
}
PERHAPS = {
    "one label only, 7, in 2% of the volume": SINGLE,
    "labels 1 and 2 only, in the same place: are they border-core": np.where(LABELS > 0, LABELS % 2 + 1, 0),
    "label 3 fills 86% of the volume: background": LARGE,
}


@pytest.mark.parametrize(("says", "labels"), [*NO_PARTICLES.items(), *PERHAPS.items()])
def test_masks_classes_and_backgrounds_are_named(says, labels):
    found = doubt(labels)
    assert found is not None
    assert found.text.startswith(says)
    assert found.certain == (says in NO_PARTICLES)


def test_measure_refuses_a_mask_unless_told_so(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "mask.tif", np.where(LABELS > 0, 255, 0).astype(np.uint8), photometric="minisblack")
    command = ("measure", f"{tmp_path}/mask.tif", f"{tmp_path}/table", "--spacing", "0.01")
    assert ps3d(*command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/mask.tif: one label only, 255" in error
    assert "--any-labels" in error
    assert not (tmp_path / "table").exists()
    assert ps3d(*command, "--any-labels") == 0
    assert "one label only, 255" in capsys.readouterr().err


def test_evaluate_asks_about_masks_and_backgrounds(tmp_path, capsys):
    values = LABELS.astype(np.uint16)
    images = {"good": values, "mask": np.where(values > 0, 255, 0), "ground": np.where(values < 9, 999, values)}
    for name, image in images.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", image.astype(np.uint16), photometric="minisblack")
    said = {}
    for name in images:
        assert ps3d("evaluate", f"{tmp_path}/{name}.tif", f"{tmp_path}/good.tif") == 0
        said[name] = capsys.readouterr().err
    assert "mask" not in said["good"]
    assert "prediction: label 255 fills 60% of the volume: background" in said["mask"]
    assert "prediction: label 999 fills" in said["ground"]
    assert "truth:" not in "".join(said.values())
