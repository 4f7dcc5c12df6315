"""The wheel: all that the packages hold, under names that clash with nobody's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ps3d_core.version import __version__

ROOT = Path(__file__).parents[2]
APP = ("flows", "tasks", "deployments")
BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"


def files_of(*folders: str) -> list[str]:
    """Files of these folders of the repository that are no leavings of a program."""
    found = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    return [str(file.relative_to(ROOT)) for file in found if file.suffix not in (".pyc", ".nbi", ".nbc")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this state, built from a copy: building leaves files beside its source."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*files_of("ps3d_core", *APP), "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-W", "ignore", "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


def test_everything_in_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    inside = {name.removeprefix("ps3d_app/") for name in wheel.namelist() if ".dist-info/" not in name}
    pictures = {name for name in files_of("ps3d_core") if name.endswith(".jpg")}  # of pages, which are not installed
    assert inside == set(files_of("ps3d_core", *APP)) - pictures


def test_only_names_of_ours_come_into_site_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"ps3d_core", "ps3d_app", f"ps3d-{__version__}.dist-info"}


def test_what_is_installed_says_who_made_it_and_what_it_is(wheel: zipfile.ZipFile) -> None:
    about = wheel.read(f"ps3d-{__version__}.dist-info/METADATA").decode()
    for line in ("Author: ", "Project-URL: ", "Classifier: Typing :: Typed", "License-Expression: Apache-2.0"):
        assert f"\n{line}" in about


def test_packages_of_the_user_are_the_user_s(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """A notebook or program in a folder with flows/, tasks.py and deployments/ gets these, and ps3d works beside."""
    wheel.extractall(tmp_path / "site")
    own = tmp_path / "own"
    for file in ("flows/__init__.py", "deployments/__init__.py", "tasks.py"):
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / file).write_text("MINE = True\n")
    code = (
        "import flows, tasks, deployments, ps3d_core, ps3d_app.flows.segment_scan as ours\n"
        "from ps3d_app.flows.command.cli import main\n"
        "print(flows.MINE, tasks.MINE, deployments.MINE, ps3d_core.__file__, ours.__file__)\n"
        "main(['model', 'info'])\n"
    )
    # Set for children of ours by tests that import flows here; a user's own program has its folder first.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment = {**inherited, "PYTHONPATH": str(tmp_path / "site"), "PS3D_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], cwd=own, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    first = f"True True True {site / 'ps3d_core/__init__.py'} {site / 'ps3d_app/flows/segment_scan.py'}"
    assert done.stdout.splitlines()[0] == first
    assert "patch" in done.stdout
