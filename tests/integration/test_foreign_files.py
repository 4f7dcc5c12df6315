"""What ps3d did not make is never removed or overwritten, whatever the command and however it ends."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.writing_commands import COMMANDS, ROUNDS, Recorder, contents, prepare, run

THESIS = b"years of work"
SIGNS = re.compile(r"/\d+\.json$")  # of a lease, which a later run would watch for a minute
FEW = 10  # places of one command that are tried one by one, spread over all of them
KILLS = (3, 9, 27)
"""At which of its writes a command is killed: at one of these, or at all when PS3D_ROUNDS asks for more than one."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("inputs")
    prepare(place)
    return place


class Bench:
    """Runs one command in fresh copies of the inputs."""

    def __init__(self, inputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._inputs, self._folder, self._patch, self._count = inputs, folder, monkeypatch, 0

    def fresh(self) -> Path:
        self._count += 1
        place = self._folder / f"w{self._count}"
        shutil.copytree(self._inputs, place)
        self._patch.chdir(place)
        return place


@pytest.fixture
def bench(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(inputs, tmp_path, monkeypatch)


def places_written(bench: Bench, command: str) -> list[str]:
    """Where the command writes that nothing was before, metadata.json of the dataset aside, which others share."""
    place = bench.fresh()
    there = set(contents(place))
    with Recorder.of(place) as recorder:
        assert run(command) == 0
    return [path for path in recorder.paths if path not in there and not SIGNS.search(path)]


def spread(places: list[str]) -> list[str]:
    """A few of the places: all that are not deep, and some of the others."""
    shallow = [path for path in places if path.count("/") <= 3]
    deep = [path for path in places if path.count("/") > 3]
    chosen = shallow if len(shallow) <= FEW else shallow[:: -(-len(shallow) // FEW)]
    return [*chosen, *deep[:: max(1, len(deep) // 2)][:2]]


def put(place: Path, *, as_folder: bool) -> Path:
    """A file of the user's at `place`, or in a folder of that name."""
    file = place / "thesis.txt" if as_folder else place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(THESIS)
    return file


def assert_one_line(capsys: pytest.CaptureFixture[str], status: int) -> None:
    captured = capsys.readouterr()
    if status:
        assert status == 2, captured.err
        errors = [line for line in captured.err.splitlines() if line.startswith("ps3d: error")]
        assert len(errors) == 1
        assert "Traceback" not in captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_the_users_survives_in_every_place(
    bench: Bench, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = spread(places_written(bench, COMMANDS[name]))
    assert places
    for number, path in enumerate(places):
        place = bench.fresh()
        file = put(place / path, as_folder=number % 2 == 0)
        before = contents(place)
        status = run(COMMANDS[name])
        assert file.read_bytes() == THESIS, f"{path} after status {status}"
        if status:
            assert contents(place) == before, f"{path}: refused, and something was changed or left"
        assert_one_line(capsys, status)
        shutil.rmtree(place)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_the_users_in_what_ps3d_made_survives(bench: Bench, name: str) -> None:
    place = bench.fresh()
    there = set(contents(place))
    assert run(COMMANDS[name]) == 0
    folders = [path for path, data in contents(place).items() if data is None and path not in there]
    files = [put(place / path / "thesis.txt", as_folder=False) for path in folders]
    run(f"{COMMANDS[name]} --overwrite" if name.startswith(("ingest", "export")) else COMMANDS[name])
    for file in files:
        assert file.read_bytes() == THESIS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_the_users_survives_a_kill_and_what_follows(bench: Bench, name: str) -> None:
    places = places_written(bench, COMMANDS[name])
    turn = list(COMMANDS).index(name) % len(KILLS)
    for deadly in KILLS if ROUNDS > 1 else KILLS[turn : turn + 1]:
        place = bench.fresh()
        killed = subprocess.run(
            [sys.executable, "-m", "tests.integration.writing_commands", str(deadly), COMMANDS[name]],
            capture_output=True,
            text=True,
            check=False,
        )
        if killed.returncode == 0:
            continue  # it had fewer writes
        assert killed.returncode == -9, killed.stderr
        there = set(contents(place))
        free = [path for path in places if path not in there and not any(one.startswith(f"{path}/") for one in there)]
        files = []
        for path in free:
            if not any(parent.is_file() for parent in (place / path).parents):
                files.append(put(place / path, as_folder=False))
                break
        run(COMMANDS[name])
        for file in files:
            assert file.read_bytes() == THESIS, f"{file} after a kill at write {deadly}"
