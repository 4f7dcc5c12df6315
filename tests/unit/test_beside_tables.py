"""Files beside a table are all of that table: what other parameters left there goes, and what is the user's stays."""

from ps3d_core.measuring.beside import COMPOSITION, CONTACTS, PHASES, beside_table, withdraw_others
from ps3d_core.params import MeasureParams
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_as_written, publish_text


def test_what_other_parameters_left_goes_and_found_phases_stay(tmp_path):
    folder = Location.parse(tmp_path)
    for name in (*CONTACTS, *PHASES, COMPOSITION, "particles.csv"):
        publish_text(folder / name, name)
    withdraw_others(folder, beside_table(MeasureParams(columns="all", find_phases=2)))
    assert {*CONTACTS, *PHASES, COMPOSITION} == set(beside_table(MeasureParams(columns="all", find_phases=2)))
    assert len(folder.children()) == 8
    withdraw_others(folder, beside_table(MeasureParams(columns="all")))
    assert {*CONTACTS, *PHASES} < set(folder.children())
    assert COMPOSITION not in folder.children()
    withdraw_others(folder, beside_table(MeasureParams()))
    assert sorted(folder.children()) == [".ps3d-files.json", "particles.csv", *PHASES]


def test_files_of_the_user_stay(tmp_path):
    folder = Location.parse(tmp_path)
    (tmp_path / "composition.csv").write_text("mine")
    publish_text(folder / "packing.csv", "ours")
    (tmp_path / "packing.csv").write_text("changed")
    assert not is_as_written(folder / "packing.csv")
    assert not is_as_written(folder / "composition.csv")
    withdraw_others(folder, beside_table(MeasureParams()))
    assert (tmp_path / "composition.csv").read_text() == "mine"
    assert (tmp_path / "packing.csv.kept-1").read_text() == "changed"
