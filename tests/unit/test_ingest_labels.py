"""Labels of a scan: brought in whole, with their type, or refused and nothing left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import main
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, image_spacing, is_label_image, open_image

LABELS = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5) % 17


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    tifffile.imwrite(tmp_path / "scan.tif", LABELS * 3, photometric="minisblack")
    size = ["--spacing", "0.01", "--particle-size", "0.03"]
    assert main(["ingest", str(tmp_path / "scan.tif"), str(tmp_path / "data"), "--name", "Ore 2.5um", *size]) == 0
    return Dataset(Location.parse(tmp_path / "data"))


def ingest(place: Path, labels: np.ndarray, *flags: str, name: str = "Ore 2.5um") -> int:
    folder = place / "labels"
    folder.mkdir(exist_ok=True)
    for z, values in enumerate(labels):
        tifffile.imwrite(folder / f"{z}.tif", values)
    return main(["ingest", str(folder), str(place / "data"), "--name", name, "--labels", *flags])


def test_labels_lie_beside_their_scan(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(tmp_path, LABELS) == 0
    truth = dataset.truth("Ore 2.5um")
    assert np.array_equal(open_image(truth)[:], LABELS)
    assert open_image(truth).dtype == np.uint16
    assert is_label_image(truth)
    assert image_spacing(truth) == pytest.approx((0.01, 0.01, 0.01))
    assert "labels up to 16" in capsys.readouterr().out
    assert ingest(tmp_path, LABELS) == 2
    assert "already has labels" in capsys.readouterr().err
    assert ingest(tmp_path, LABELS + 1, "--overwrite") == 0
    assert open_image(truth)[0, 0, 0] == 1


@pytest.mark.parametrize(
    ("labels", "flags", "name", "says"),
    [
        (LABELS[:3], (), "Ore 2.5um", "labels of (3, 6, 5) voxels, scan 'Ore 2.5um' of (4, 6, 5)"),
        (LABELS.astype(np.float32) + 0.5, (), "Ore 2.5um", "labels must be whole numbers"),
        (np.where(LABELS, LABELS, np.nan).astype(np.float32), (), "Ore 2.5um", "labels must be whole numbers"),
        (LABELS.astype(np.float32) * 2**21, (), "Ore 2.5um", "labels must be whole numbers from 0 to 16777216"),
        (LABELS.astype(np.int16) - 1, (), "Ore 2.5um", "/labels: label -1 in slices 0 to"),
        (LABELS * 0, (), "Ore 2.5um", "no label above 0"),
        (LABELS, ("--spacing", "0.02"), "Ore 2.5um", "leave out what says"),
        (LABELS, (), "other", "scan 'other': not in"),
    ],
)
def test_refusals_leave_nothing(
    dataset: Dataset,
    tmp_path: Path,
    labels: np.ndarray,
    flags: tuple[str, ...],
    name: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert ingest(tmp_path, labels, *flags, name=name) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (dataset.root / "instance_seg").exists()


def test_a_scan_needs_its_particle_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(tmp_path), str(tmp_path / "data"), "--name", "a"]) == 2
    assert "--particle-size is missing" in capsys.readouterr().err


def test_a_crop_in_lengths_is_that_of_the_scan(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, data = str(tmp_path / "scan.tif"), str(tmp_path / "data")
    part = ["--roi", "0.02mm:0.08mm,,0.01mm:", "--every", "2"]
    size = ["--spacing", "0.02,0.01,0.01", "--particle-size", "0.06"]
    assert main(["ingest", scan, data, "--name", "part", *size, *part]) == 0
    labels = (LABELS > 4).astype(np.uint16)
    assert ingest(tmp_path, labels, *part, name="part") == 0
    assert np.array_equal(open_image(dataset.truth("part"))[:], labels[1:4:2, ::2, 1::2])
    assert image_origin(dataset.truth("part")) == image_origin(dataset.image("part")) == pytest.approx((0.02, 0, 0.01))
    assert "same part" not in capsys.readouterr().err
    assert ingest(tmp_path, labels, "--roi", "0:3,,1:", "--every", "2", "--overwrite", name="part") == 0
    assert "are they of the same part?" in capsys.readouterr().err
