"""A model is calibrated on scans whose particles are known, and its confidences can be relied on elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.network.bundle import copy_bundle, load_bundle
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.training import calibrate

FAST = ["--quality", "fast", "--device", "cpu", "--workers", "1"]


def ps3d(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def phantom(dataset: Path, name: str, seed: int) -> None:
    params = PhantomParams(shape=(56, 56, 56), particle_size_voxels=13, seed=seed, dtype="uint8")
    write_phantom(params, Location.parse(dataset), name, spacing=0.01)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("calibrate")
    phantom(place / "data", "known", seed=3)
    return place / "data"


@pytest.fixture
def model(tmp_path: Path) -> str:
    copied = copy_bundle(load_bundle(), Location.parse(tmp_path / "model"))
    return str(calibrate.record_calibration(copied, calibrate.ANY).location)


def test_a_calibration_is_found_and_told(dataset: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_bundle(model)
    assert ps3d("model", "calibrate", model, str(dataset), *FAST) == 0
    said = capsys.readouterr().out
    after = load_bundle(model)
    found = after.info.calibration
    assert found is not None
    assert found != before.info.calibration
    assert after.info.digest == before.info.digest
    assert f"calibrated on {found.particles} particles of 1 scan(s)" in said
    assert found.particles > found.right > 20
    assert ps3d("model", "info", model) == 0
    assert f"on {found.particles} particles, {found.right} of them right" in capsys.readouterr().out
    assert sorted(path.name for path in dataset.iterdir()) == ["images", "instance_seg", "metadata.json"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bundled", "{data}"], "bundled: has a calibration, and is not written to"),
        (
            ["{model}", "{data}", "--name", "unknown"],
            "unknown.zarr: nothing there; scans for a calibration need true labels",
        ),
    ],
)
def test_what_cannot_be_calibrated(
    dataset: Path, model: str, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_bundle(model)
    given = [each.format(data=dataset, model=model) for each in arguments]
    assert ps3d("model", "calibrate", *given, *FAST) == 2
    assert reason in capsys.readouterr().err
    assert load_bundle(model) == before


def test_a_dataset_without_truth_is_told_where_it_belongs(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom(tmp_path / "data", "ore", seed=4)
    Dataset(Location.parse(tmp_path / "data")).truth("ore").remove_tree()
    assert ps3d("model", "calibrate", model, str(tmp_path / "data"), *FAST) == 2
    assert "no scan has true labels; put them at" in capsys.readouterr().err
