"""Modules of the user's in the working directory that are called like ours, or like Python's, are never imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.child import TrainingFailedError, run_step

ROOT = Path(__file__).parents[2]
SCAN = "Ore 2.5um"
NAMES = ("tasks", "ps3d_core", "torch", "prefect", "numpy", "random", "signal", "distributed")
# What pip makes of an entry point.
PROGRAM = "import sys\nfrom ps3d_app.flows.command.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: everything in it fails when it is imported."""
    folder = tmp_path / "hostile"
    (folder / "flows").mkdir(parents=True)
    for file in (folder / "flows" / "__init__.py", *(folder / f"{name}.py" for name in NAMES)):
        file.write_text("raise RuntimeError('a module of the user')\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("hostile")
def test_a_run_in_such_a_folder(tmp_path: Path) -> None:
    """It starts a server of Prefect and worker processes."""
    params = PhantomParams(shape=(24, 24, 24), particle_size_voxels=8, seed=0)
    write_phantom(params, Location.parse(tmp_path / "data"), SCAN)
    program = tmp_path / "bin" / "ps3d"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    how = ["--no-tta", "--device", "cpu", "--workers", "1", "--memory", "4", "--runner", "processes"]
    places = [str(tmp_path / "data"), str(tmp_path / "out")]
    command = [sys.executable, str(program), "segment", *places, "--name", SCAN, *how]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    environment = {**own, "PYTHONPATH": str(ROOT), "PS3D_HOME": str(tmp_path / "home")}  # a server of its own
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Result(Location.parse(tmp_path / "out"), SCAN).run.exists()


def test_a_step_of_nnunet_in_such_a_folder(hostile: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with pytest.raises(TrainingFailedError, match="KeyError: 'unknown'"):  # ours was asked, and knows no such step
        run_step({"step": "unknown"}, environment=environment, log=hostile / "log", heard=print)
