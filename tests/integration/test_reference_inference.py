"""`ps3d_inference` on what ParticleSeg3D's commands before it leave, read by the one after it."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import run_alone
from ps3d_app.flows.command.command_line import parser_of
from ps3d_app.flows.command.reference import inference
from ps3d_app.flows.command.reference.conversions import CONVERSIONS
from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.record import read_record
from ps3d_core.store.location import Location

MODEL = Path(__file__).parents[1] / "parity" / "data" / "v1_model"
SHAPE = (32, 36, 40)
SCAN = "Ore2.5um_Zone3"


def ps3d_inference(*arguments: object) -> int:
    try:
        return run_alone(inference.NAME, inference, list(map(str, arguments)))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    grey, _ = Phantom(PhantomParams(shape=SHAPE, particle_size_voxels=12, seed=0, dtype="uint16")).render(Box.of(SHAPE))
    (tmp_path / "in" / SCAN).mkdir(parents=True)
    for z, values in enumerate(grey):
        tifffile.imwrite(tmp_path / "in" / SCAN / f"{z}.tiff", values)
    command = "ps3d_tiff2zarr"
    arguments = ["-i", str(tmp_path / "in" / SCAN), "-o", str(tmp_path / "data" / "images")]
    assert run_alone(command, CONVERSIONS[command], arguments) == 0
    (tmp_path / "data" / "metadata.json").write_text(json.dumps({SCAN: {"spacing": 0.01, "particle_size": 0.12}}))
    return tmp_path / "data"


def test_from_slices_to_slices(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-z", 12_000, 5_000, "-target_particle_size", 12, "-target_spacing", 0.1, "-f", 0, "-batch_size", 2]
    more = ["-n", SCAN, "-p", 1, "-min_rel_particle_size", 0.01]
    arguments = ["--input", dataset, "--output", tmp_path / "out", "--model", MODEL, *flags, *more]
    assert ps3d_inference(*arguments) == 0
    record = read_record(Location.parse(tmp_path / "out" / SCAN / "run.json"))
    assert record is not None
    assert record.grids["zoom"] == pytest.approx(1)
    assert record.grids["patch"] == (32, 32, 32) or list(record.grids["patch"]) == [32, 32, 32]
    assert record.parameters.predict.zscore == (12_000, 5_000)
    assert record.parameters.instances.min_rel_particle_size == 0.01
    command = "ps3d_zarr2tiff"
    source = tmp_path / "out" / SCAN / f"{SCAN}.zarr"
    assert run_alone(command, CONVERSIONS[command], ["-i", str(source), "-o", str(tmp_path / "slices")]) == 0
    labels = np.stack([tifffile.imread(tmp_path / "slices" / SCAN / f"{z}.tiff") for z in range(SHAPE[0])])
    assert labels.shape == SHAPE
    assert labels.max() == record.particles
    # The model was imported once, and a finished scan is not segmented again.
    capsys.readouterr()
    assert ps3d_inference(*arguments) == 0
    assert "already segmented" in capsys.readouterr().err


def test_particles_of_their_own_size_and_refusals(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["-i", dataset, "-o", tmp_path / "out", "-m", MODEL, "-p", 0]
    capsys.readouterr()
    for more, says in (
        (["-n", "Ore2"], "scan 'Ore2': not in"),
        (["-f", 3], "fold 3"),
        (["-m", tmp_path / "nothing"], "nothing there"),
        (["-m", dataset], "no model of nnU-Net"),
        (["-target_particle_size", 1], "-target_particle_size 1"),
    ):
        assert ps3d_inference(*common, *more) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.startswith("ps3d: error: ")
    job = inference.jobs_of(_parsed(*common, "-target_particle_size", 0))[0]
    assert job.params.predict.target_particle_size == pytest.approx(12)
    assert job.resources.workers == 1


# The metadata.json in ParticleSeg3D's README: particles of 29, 46, 129 and 42 voxels, which a network for particles of
# 60 sees with 8.6, 2.2, 0.1 and 3 times the voxels.
PUBLISHED = {
    "Ore1_Zone3_Concentrate": {"spacing": 0.01, "particle_size": 0.29292},
    "Recycling1": {"spacing": 0.011, "particle_size": 0.5082},
    "Ore2_PS850_VS10": {"spacing": 0.01, "particle_size": 1.2874},
    "Ore5": {"spacing": 0.0055, "particle_size": 0.2296},
}


def test_the_published_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = PhantomParams(shape=(12, 66, 14), particle_size_voxels=9, seed=2, dtype="uint16")
    grey, _ = Phantom(params).render(Box.of(params.shape))
    command = "ps3d_tiff2zarr"
    for name in PUBLISHED:
        (tmp_path / "in" / name).mkdir(parents=True)
        for z, values in enumerate(grey):
            tifffile.imwrite(tmp_path / "in" / name / f"{z}.tiff", values)
        arguments = ["-i", str(tmp_path / "in" / name), "-o", str(tmp_path / "data" / "images")]
        assert run_alone(command, CONVERSIONS[command], arguments) == 0
    (tmp_path / "data" / "metadata.json").write_text(json.dumps(PUBLISHED))
    assert ps3d_inference("-i", tmp_path / "data", "-o", tmp_path / "out", "-m", MODEL, "-p", 2) == 0
    printed = capsys.readouterr().out
    for name, entry in PUBLISHED.items():
        record = read_record(Location.parse(tmp_path / "out" / name / "run.json"))
        assert record is not None
        assert record.grids["zoom"] == pytest.approx(60 / (entry["particle_size"] / entry["spacing"]))
        assert f"{name}: {record.particles} particles" in printed


def _parsed(*arguments: object) -> Namespace:
    return parser_of(inference.NAME, inference).parse_args(list(map(str, arguments)))


def test_a_damaged_import_is_made_again(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS3D_HOME", str(tmp_path / "home"))
    arguments = ["-i", dataset, "-o", tmp_path / "out", "-m", MODEL]
    model = Path(inference.jobs_of(_parsed(*arguments))[0].model)
    whole = {file.name: file.read_bytes() for file in model.iterdir()}
    for name in whole:
        (model / name).write_bytes(whole[name][:-9])
        assert inference.jobs_of(_parsed(*arguments))[0].model == str(model)
        assert {file.name: file.read_bytes() for file in model.iterdir()} == whole
    before = {file.name: file.stat().st_mtime_ns for file in model.iterdir()}
    inference.jobs_of(_parsed(*arguments))
    assert {file.name: file.stat().st_mtime_ns for file in model.iterdir()} == before
