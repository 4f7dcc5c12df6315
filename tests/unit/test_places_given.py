"""Every command that takes a result, a table or a volume, given each thing that ps3d makes: what cannot be is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ps3d_core
from ps3d_app.flows.command.cli import main
from ps3d_core.store.layout import RUN
from tests.unit.workspace import listing, make_workspace

COMMANDS = {
    "sizes": "sizes {}",
    "compare": "compare {} --output {}-compared",
    "report": "report {}",
    "fetch": "fetch ./{} elsewhere",
    "meshes": "meshes {} --all",
    "measure": "measure {} measured",
    "export": "export {} exported --format tiff",
    "evaluate": "evaluate {} labels.zarr",
    "look": "look {}",
    "inspect": "inspect {}",
    "segment": "segment {} results",
}
VOLUMES = {"meshes", "measure", "export", "evaluate", "look"}
PLACES = {
    "data": {"inspect", "segment"},
    "table": {"sizes", "fetch", "compare"},
    "table/particles.parquet": {"sizes"},
    "empty": set(),
    "missing": set(),
    "model": set(),
    "training": set(),
    "unfinished": set(),
    "labels.zarr": VOLUMES,
    "ore.nii.gz": VOLUMES,
}
"""With the commands that can do with them."""
REFUSED = [(command, place) for place, can in PLACES.items() for command in COMMANDS if command not in can]
REMEDY = re.compile(r"; (check|give|make|bring|wait|measure|segment|must be)\b|\bgive |\bmake |\bcheck ")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    make_workspace(folder)
    assert main(["measure", str(folder / "labels.zarr"), str(folder / "table")]) == 0
    (folder / "model").symlink_to(Path(ps3d_core.__file__).parent / "network" / "bundled")
    (folder / "training" / "imagesTr").mkdir(parents=True)
    (folder / "training" / "dataset.json").write_text("{}")
    (folder / "unfinished" / ".work").mkdir(parents=True)
    (folder / "unfinished" / ".work" / ".ps3d.json").write_text('{"ps3d": "1"}')
    (folder / "unfinished" / "particles.parquet").write_bytes((folder / "table" / "particles.parquet").read_bytes())
    return folder


@pytest.mark.parametrize(("command", "place"), REFUSED)
def test_what_cannot_be_is_said_in_one_line_with_a_remedy(
    command: str, place: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    before = listing(here)
    status = main(COMMANDS[command].format(place, place).split())
    out, err = capfd.readouterr()
    assert status == 2, (out, err)
    assert err.startswith("ps3d: error: ")
    assert err.count("\n") == 1
    assert place in err
    assert "no slices" not in err
    assert REMEDY.search(err), err
    assert listing(here) == before


def test_what_is_there_is_named(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    (here / "many" / "ore").mkdir(parents=True)
    (here / "many" / "ore" / RUN).write_text("{}")
    for command, words in {
        "meshes table --all": "table: a table of particles and no labels; give the label image that was measured",
        "meshes model --all": "model: a model, not one volume; give a label image or a scan",
        "meshes many --all": "many: a folder of results, not one of them; give one, like {here}/many/ore",
        "meshes many/ore --all": "many/ore/run.json: not a run record",
        "export many/ore out --format tiff": "a result, not one volume; give its label image, ",
        "report table": "table: a table of ps3d measure, and no result, which has labels and a report; give the folder",
        "report many/ore/run.json": "run.json: the record of a result; give its folder, {here}/many/ore",
        "sizes unfinished": "unfinished: an unfinished result; wait for its run, or give ps3d segment again",
        "sizes unfinished/particles.parquet": "unfinished: an unfinished result; wait for its run, or give",
        "sizes labels.zarr": "labels.zarr: an image, not a table; make one of labels with ps3d measure",
        "compare training": "training: training data, not a table; give the folder of a result, or of a table",
    }.items():
        assert main(command.split()) == 2
        assert words.format(here=here) in capfd.readouterr().err
