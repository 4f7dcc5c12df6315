"""Files beside a table are all of that table: what other parameters left there goes, and what is the user's stays."""

from ps3d_core.composition.files import write_phases
from ps3d_core.measuring.beside import CERTAINTY, COMPOSITION, CONTACTS, PHASES, beside_table, withdraw_others
from ps3d_core.params import MeasureParams
from ps3d_core.phases import phases_of
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_as_written, publish_text


def left_by(folder, **params):
    """Names of what is left when a table is measured with these parameters."""
    chosen = MeasureParams(**params)
    withdraw_others(folder, beside_table(chosen), chosen)
    return {name for name in folder.children() if not name.startswith(".")}


def test_what_other_parameters_left_goes(tmp_path):
    folder = Location.parse(tmp_path)
    for name in (*CONTACTS, *PHASES, COMPOSITION, CERTAINTY, "particles.csv"):
        publish_text(folder / name, name)
    assert {*CONTACTS, *PHASES, COMPOSITION} == set(beside_table(MeasureParams(columns="all", find_phases=2)))
    assert left_by(folder, columns="all", find_phases=2) == {*CONTACTS, *PHASES, COMPOSITION, "particles.csv"}
    assert left_by(folder, columns="all") == {*CONTACTS, "particles.csv"}
    assert left_by(folder) == {"particles.csv"}


def test_phases_that_are_given_back_stay(tmp_path):
    folder, found = Location.parse(tmp_path), phases_of(("a=0:90", "b=90:200"))
    write_phases(folder / "phases.json", found)
    publish_text(folder / "phases.svg", "of an earlier table")
    assert left_by(folder, phases=found) == {"phases.json"}
    assert left_by(folder, phases=phases_of(("a=0:80", "b=80:200"))) == set()


def test_files_of_the_user_stay(tmp_path):
    folder = Location.parse(tmp_path)
    (tmp_path / "composition.csv").write_text("mine")
    publish_text(folder / "packing.csv", "ours")
    (tmp_path / "packing.csv").write_text("changed")
    assert not is_as_written(folder / "packing.csv")
    assert not is_as_written(folder / "composition.csv")
    assert left_by(folder) == {"composition.csv", "packing.csv.kept-1"}
    assert (tmp_path / "composition.csv").read_text() == "mine"
    assert (tmp_path / "packing.csv.kept-1").read_text() == "changed"
