"""Grey values that are not there, and what an earlier or a failed measurement leaves beside a table."""

from __future__ import annotations

import numpy as np
import pytest
from composed_bodies import BALL, cutout_of, scanned
from labelled import stored, voronoi

from ps3d_core.composition.find import found_phases
from ps3d_core.composition.interiors import counted
from ps3d_core.composition.measure import Composition, ImageValues
from ps3d_core.errors import InputError
from ps3d_core.measuring.measure import measure_sample
from ps3d_core.params import MeasureParams
from ps3d_core.particles.sample import Sample
from ps3d_core.phases import phases_of
from ps3d_core.store.location import Location
from tests.unit.test_cli import ps3d

TWO = phases_of(("dark=60:140", "bright=140:260"))
TRUTH = np.where(BALL, np.where(np.indices(BALL.shape)[2] < 15, 90.0, 220.0), 20.0)
GREY = scanned(TRUTH, blur=0.7)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_scan_that_is_masked_outside_has_the_phases_it_has(missing):
    masked = np.where(BALL, scanned(TRUTH, blur=0), np.float32(missing))
    shares = Composition(TWO).values(cutout_of(BALL, masked))
    assert shares["phase_dark_share"][0] == pytest.approx(np.mean(TRUTH[BALL] == 90), abs=0.04)
    assert shares["phase_dark_exposed"][0] == pytest.approx(0.5, abs=0.1)


def test_a_single_value_missing_outside_changes_little():
    hole = GREY.copy()
    hole[1, 15, 15] = np.nan  # beside the ball
    values, whole = (Composition(TWO).values(cutout_of(BALL, grey)) for grey in (hole, GREY))
    assert values["phase_dark_share"] == pytest.approx(whole["phase_dark_share"], abs=0.002)


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_particle_with_a_value_missing_has_no_phases_and_no_grey_values(missing):
    hole = GREY.copy()
    hole[15, 15, 15] = missing
    cutout = cutout_of(BALL, GREY, other=hole)
    values = Composition(phases_of(("a=other:60:140", "b=other:140:260"))).values(cutout)
    assert np.isnan([values[f"phase_{name}_{kind}"][0] for name in "ab" for kind in ("share", "exposed")]).all()
    assert np.isnan(np.concatenate(list(ImageValues("other").values(cutout).values()))).all()


def test_phases_are_found_in_a_masked_scan():
    masked = np.where(BALL, GREY, np.float32(np.nan))
    found = found_phases(counted(BALL.astype(np.uint32), masked, (0, 0, 0), BALL.shape), 2)
    assert [phase.mean("grey") for phase in found.phases.phases] == pytest.approx([90, 220], abs=4)
    assert found.phases.background == {}
    nothing = counted(BALL.astype(np.uint32), np.full_like(masked, np.inf), (0, 0, 0), BALL.shape)
    with pytest.raises(InputError, match="0 voxels of finite grey values"):
        found_phases(nothing, 2)


@pytest.mark.parametrize(
    ("phase", "words"), [("a=1:200", "the scan as <image>"), ("a=high:1:200", "image high: there is none of this name")]
)
def test_phases_of_an_image_that_is_not_there_are_refused(tmp_path, phase, words):
    root = Location.parse(tmp_path)
    labels = stored(root / "labels", voronoi((20, 20, 20), 5, seed=1))
    told = MeasureParams(phase=(phase,), images=("high=x",))
    with pytest.raises(InputError) as caught:
        measure_sample(Sample(labels, None, 0.01), root / "table", work=root / "work", params=told)
    assert words in " ".join(map(str, caught.value.args))
    assert not (root / "table").exists()


def test_densities_are_of_the_phases_that_will_be_found():
    assert MeasureParams(find_phases=2, sizes={"densities": {"p1": 2.6, "p2": 5}})
    with pytest.raises(ValueError, match="phase q has a density, but is no phase"):
        MeasureParams(find_phases=2, sizes={"densities": {"p1": 2.6, "p2": 5, "q": 3}})


@pytest.fixture
def measured(tmp_path):
    """A table with everything beside it, and the command that made it."""
    labels = np.kron(voronoi((3, 3, 3), 7, seed=2, filled=0.8), np.ones((12, 12, 12), np.uint32))
    grey = np.where(labels % 2, 90, 200) + np.random.default_rng(0).integers(-5, 6, labels.shape)
    root = Location.parse(tmp_path)
    stored(root / "labels", labels)
    stored(root / "grey", grey.astype(np.uint8))
    command = ("measure", f"{tmp_path}/labels", f"{tmp_path}/table", "--spacing", "0.01", "--image", f"{tmp_path}/grey")
    assert ps3d(*command, "--columns", "all", "--find-phases", "2") == 0
    return tmp_path / "table", command


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_what_is_of_another_table_goes(measured):
    folder, command = measured
    assert {"contacts.csv", "packing.csv", "composition.csv", "phases.json", "phases.svg"} <= {*names_in(folder)}
    (folder / "notes.csv").write_text("mine")
    (folder / "composition.csv").write_text("my own words")
    assert ps3d(*command, "--phases", f"{folder}/phases.json") == 0
    with_phases = ["composition.csv", "composition.csv.kept-1", "notes.csv", "particles.csv", "particles.parquet"]
    assert names_in(folder) == [*with_phases, "phases.json"]  # what was given back stays
    assert ps3d(*command) == 0
    assert names_in(folder) == with_phases[1:]
    assert (folder / "composition.csv.kept-1").read_text() == "my own words"


def test_a_measurement_that_cannot_be_leaves_nothing(measured, tmp_path, capsys):
    folder, command = measured
    again = (*command[:2], f"{tmp_path}/other", *command[3:], "--columns", "all", "--find-phases", "8")
    assert ps3d(*again) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "8 phases to be found: grey values of the interiors have" in error
    assert not (tmp_path / "other").exists()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert ps3d(*command, "--columns", "all", "--find-phases", "8") == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
