"""`ps3d demo` works in a folder that may hold anything: only what an earlier demo made is replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from ps3d_app.flows.command import demo, demo_steps
from ps3d_core.errors import InputError
from ps3d_core.params import IngestParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.progress import SILENT
from ps3d_core.scan.ingest import ingest
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tests.integration.writing_commands import contents


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    params = PhantomParams(shape=(20, 22, 24), particle_size_voxels=9.0, seed=1)
    monkeypatch.setattr(demo, "demo_params", lambda: params)


def make_scan(here: Path) -> None:
    place = Location.parse(here)
    demo.make_scan(place, Dataset(place / "data"), Dataset(place / "truth"), SILENT)


def own_file(here: Path, name: str) -> None:
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / name).write_text("mine")


def own_zarr(here: Path, name: str) -> None:
    zarr.create_array(here / name, data=np.ones((4, 4, 4), np.uint8))


def own_slices(here: Path, name: str) -> None:
    (here / name).mkdir()
    for index in range(4):
        tifffile.imwrite(here / name / f"s_{index}.tif", np.ones((5, 6), np.uint8))


def own_scan(here: Path, name: str) -> None:
    own_slices(here, "mine")
    ingest(
        str(here / "mine"), Dataset(Location.parse(here / name)), "demo", IngestParams(spacing=0.01, particle_size=0.03)
    )


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (own_file, "slices/thesis.txt"),
        (own_file, "slices"),
        (own_slices, "slices"),
        (own_zarr, "data/images/demo.zarr"),
        (own_zarr, "truth/images/demo.zarr"),
        (own_zarr, "truth/instance_seg/demo.zarr"),
        (own_scan, "data"),
        (own_scan, "truth"),
        (own_file, ".demo/thesis.txt"),
    ],
)
def test_what_is_in_the_way_is_refused_and_stays(tmp_path, make, name):
    make(tmp_path, name)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="is there already"):
        make_scan(tmp_path)
    assert contents(tmp_path) == before


def test_files_beside_it_stay(tmp_path):
    for name in ("data/notes.txt", "truth/notes.txt", "notes.txt", "data/images/other.txt"):
        own_file(tmp_path, name)
    before = contents(tmp_path)
    make_scan(tmp_path)
    made = contents(tmp_path)
    assert before.items() <= made.items()
    make_scan(tmp_path)
    assert contents(tmp_path) == made


def test_slices_of_which_one_is_gone_are_kept_and_made_again(tmp_path):
    make_scan(tmp_path)
    made = contents(tmp_path)
    slice_file = next((tmp_path / "slices").glob("*.tif"))
    slice_file.unlink()
    make_scan(tmp_path)
    assert len(contents(tmp_path / "slices.kept-1")) == len(contents(tmp_path / "slices")) - 1
    assert without_ledger(made).items() <= without_ledger(contents(tmp_path)).items()


def without_ledger(found: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """All but how long each step took."""
    return {name: content for name, content in found.items() if not name.startswith(".demo/")}


STEPS = (demo_steps.DrawPhantom, demo_steps.ExportSlices, demo_steps.IngestSlices)


@pytest.fixture
def made_steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that are made."""
    names: list[str] = []
    for step in STEPS:

        def make(self, done, context, real=step.make):
            names.append(self.name)
            return real(self, done, context)

        monkeypatch.setattr(step, "make", make)
    return names


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_raised_version_redoes_its_step_and_those_after_it(tmp_path, monkeypatch, made_steps, first):
    make_scan(tmp_path)
    versions = ((demo_steps.write, "VERSION"), (demo_steps, "SLICES_VERSION"), (demo_steps, "INGEST_VERSION"))
    monkeypatch.setattr(*versions[first], 99)
    made_steps.clear()
    make_scan(tmp_path)
    assert made_steps == [step.name for step in STEPS[first:]]
    made_steps.clear()
    make_scan(tmp_path)
    assert made_steps == []


def test_a_killed_demo_goes_on(tmp_path, monkeypatch, made_steps):
    with monkeypatch.context() as killing:

        def killed(*_args, **_options):
            raise KeyboardInterrupt

        killing.setattr(demo_steps, "ingest", killed)
        with pytest.raises(KeyboardInterrupt):
            make_scan(tmp_path)
    made_steps.clear()
    make_scan(tmp_path)
    assert made_steps == ["ingest"]
    assert not list(tmp_path.rglob("*.kept-*"))
