"""Training data from a real object store, and after kill -9."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from ps3d_core.training.preparation_record import read_preparation
from tests.unit.labelled import voronoi

SHAPES = {"one": (40, 60, 50), "two": (33, 40, 44)}
NETWORK = ["--target-particle-size", "24", "--instances", "--workers", "1", "--memory", "2"]


def fill(dataset: Dataset) -> None:
    rng = np.random.default_rng(4)
    for seed, (name, shape) in enumerate(SHAPES.items()):
        labels = voronoi(shape, 12, seed)
        image = (rng.normal(100, 10, shape) + 60 * (labels > 0)).astype("uint8")
        for place, volume in ((dataset.image(name), image), (dataset.truth(name), labels)):
            create_image(place, shape, volume.dtype, spacing=0.01, name=name)[:] = volume
        dataset.add_scan(name, 0.01, 0.15)
    dataset.zscore.write_json({"mean": 130.0, "std": 30.0})


def contents(folder: Location) -> dict[str, bytes]:
    """All files; what says where the data came from aside."""
    names = (name for name in folder.find() if not name.startswith(".lease") and name != "ps3d.json")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    fill(Dataset(Location.parse(tmp_path / "data")))
    assert main(["prepare-training", str(tmp_path / "data"), str(tmp_path / "whole"), *NETWORK]) == 0
    return contents(Location.parse(tmp_path / "whole" / "Dataset500_ParticleSeg3D"))


def test_command_on_s3(s3: Location, expected: dict[str, bytes]) -> None:
    fill(Dataset(s3 / "data"))
    command = ["prepare-training", str(s3 / "data"), str(s3 / "out"), *NETWORK]
    assert main(command) == 0
    folder = s3 / "out" / "Dataset500_ParticleSeg3D"
    assert contents(folder) == expected
    written = {name: info["LastModified"] for name, info in folder.find().items()}
    assert main(command) == 0
    assert {name: info["LastModified"] for name, info in folder.find().items()} == written
    assert read_preparation(folder).cases["one"].image == f"{s3}/data/images/one.zarr"


@pytest.mark.parametrize("dies_at", ["after the blocks", "within a file"])
def test_after_kill_9(tmp_path: Path, expected: dict[str, bytes], dies_at: str) -> None:
    """Killed while a file is written, or after the blocks of one: nothing looks whole, and the rest is not repeated."""
    arguments = ["prepare-training", str(tmp_path / "data"), str(tmp_path / "killed"), *NETWORK]
    folder = Location.parse(tmp_path / "killed" / "Dataset500_ParticleSeg3D")
    done = subprocess.run([sys.executable, "-c", _RUN, dies_at, *arguments], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert not (folder / "ps3d.json").exists()
    assert not (folder / "dataset.json").exists()
    visible = contents(folder)
    files = {
        name: content for name, content in visible.items() if not any(part.startswith(".") for part in name.split("/"))
    }
    assert files.items() <= expected.items()
    before = {name: (folder / name).local_path.stat().st_mtime_ns for name in files}

    assert main(arguments) == 0
    assert contents(folder) == expected
    assert {name: (folder / name).local_path.stat().st_mtime_ns for name in before} == before
    assert not list((tmp_path / "killed").rglob("*.ps3d"))


_RUN = """
import os, signal, sys
from ps3d_core.progress import Progress, StageAdvanced, StageFinished

kind, stage = {
    "after the blocks": (StageFinished, "labels one"),
    "within a file": (StageAdvanced, "write imagesTr/two_0000.nii.gz"),
}[sys.argv[1]]
emit = Progress.emit

def emit_or_die(self, event):
    emit(self, event)
    if isinstance(event, kind) and event.stage == stage:
        os.kill(os.getpid(), signal.SIGKILL)

Progress.emit = emit_or_die
from ps3d_app.flows.command.cli import main
main(sys.argv[2:])
"""
