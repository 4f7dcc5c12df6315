"""Whole runs that are disturbed, by a store that fails, by kills, by a full disk, end like one that is not.

PS3D_KILLS=20 kills that many runs on every store instead of a few.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.lease import is_held
from ps3d_core.store.location import Location
from tests.integration.faulty_proxy import KINDS, Faults, assert_no_keys
from tests.integration.small_run import RECORDED, WRITES
from tests.integration.test_pipeline import SCAN, everything_of, job_in

ROOT = Path(__file__).parents[2]
KILLS = {"folder": 3, "s3": 1}
ROWS = (3, 1)
SEGMENT = "--direct --no-tta --device cpu --workers 1 --memory 4"


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to: where it lies and how often it wrote."""

    place: Location
    writes: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Undisturbed:
    place = Location.parse(tmp_path_factory.mktemp("undisturbed"))
    params = PhantomParams(shape=(100, 64, 64), particle_size_voxels=20, seed=5, dtype="uint16")
    write_phantom(params, place / "dataset", SCAN, spacing=0.01)
    status, said = run_small(place)
    assert status == 0, said
    return Undisturbed(place, int(said.rpartition(WRITES)[2]))


def dataset_to(place: Location, undisturbed: Undisturbed) -> Location:
    for name in (undisturbed.place / "dataset").find():
        (place / "dataset" / name).write_bytes((undisturbed.place / "dataset" / name).read_bytes())
    return place


def results(place: Location) -> tuple[bytes, ...]:
    return everything_of(job_in(place))


# Kills


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.soak)])
def places(request, tmp_path) -> Iterator[Location]:
    """Fresh places on a store, one after another."""
    root = Location.parse(tmp_path) if request.param == "folder" else request.getfixturevalue("s3")
    return (root / str(number) for number in count())


def run_small(place: Location, deadly: int | None = None) -> tuple[int, str]:
    """Run tests.integration.small_run to its end, or to its death at write number `deadly`; status and output."""
    arguments = [str(place), *([str(deadly)] if deadly else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.small_run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    said, _ = process.communicate()
    return process.returncode, said


def recorded_in(said: str) -> list[str]:
    """Blocks that entered a ledger during a run, by what it said."""
    return [line.split()[1] for line in said.splitlines() if line.startswith(f"{RECORDED} ")]


def entries_at(place: Location) -> set[str]:
    """Blocks that are in a ledger on the store; steps may have theirs in a folder of their own."""
    names = job_in(place).result.work.find()
    return {name.rpartition("ledger/")[2] for name in names if f"/{name}".count("/ledger/")}


@pytest.mark.slow
def test_killed_runs_go_on_without_repeating_a_block_and_end_alike(undisturbed, places, request):
    store = request.node.callspec.params["places"]
    kills = int(os.environ.get("PS3D_KILLS", KILLS[store]))
    rng = random.Random(store)
    for place, row in zip(places, rows_of(kills), strict=False):
        dataset_to(place, undisturbed)
        known: set[str] = set()
        for number in range(row):
            # Every run has at least its share of the writes left to do.
            status, said = run_small(place, rng.randint(1, undisturbed.writes // row))
            assert status == -signal.SIGKILL, said
            known = went_on(place, known, said)
            print(f"{store}: kill {number + 1} with {len(known)} blocks known, after {last_stage(said)}")
            if job_in(place).result.run.exists():  # written last: the kill came too late to disturb anything
                assert results(place) == results(undisturbed.place)
                break
        status, said = run_small(place)
        assert status == 0, said
        went_on(place, known, said)
        assert results(place) == results(undisturbed.place)
        assert not is_held(job_in(place).result.lease)
        print(f"{store}: ended alike, with {len(recorded_in(said))} blocks left to do")


def rows_of(kills: int) -> list[int]:
    """How often each of several scans is killed: three times in a row, or once anywhere, in turn."""
    rows: list[int] = []
    for row in cycle(ROWS):
        if not (left := kills - sum(rows)):
            return rows
        rows.append(min(row, left))
    raise AssertionError


def went_on(place: Location, known: set[str], said: str) -> set[str]:
    """Check that a run left alone what was `known` before; what is known after it."""
    recorded = recorded_in(said)
    assert len(set(recorded)) == len(recorded)
    assert known.isdisjoint(recorded)
    entries = entries_at(place)
    assert entries >= known | set(recorded)
    return entries


def last_stage(said: str) -> str:
    recorded = recorded_in(said)
    return recorded[-1].partition("/")[0] if recorded else "no block"


# A store that fails


@pytest.mark.slow
def test_a_store_that_fails_one_request_in_ten(undisturbed, through_proxy, own_home, capsys):
    often = [kind for kind in KINDS if kind != "stalled"]
    faults = Faults([*often * 10, "stalled"], every=10)
    with through_proxy(faults) as store:
        dataset_to(store, undisturbed)
        before = logs_in(own_home)
        assert main(f"segment {store}/dataset {store}/output {SEGMENT}".split()) == 0, capsys.readouterr().err
        assert results(store) == results(undisturbed.place)
        assert faults.happened.total() == len(faults.requests) // 10
        assert {kind for kind, _ in faults.happened} == set(KINDS)
        [log] = logs_in(own_home) - before
        result, said = job_in(store).result, capsys.readouterr()
        assert "again in" in log.read_text()
        for text in (log.read_text(), result.run.read_text(), result.report.read_text(), said.out, said.err):
            assert_no_keys(text)


def logs_in(home: Path) -> set[Path]:
    return set((home / "logs").glob("*.log"))


# A full disk


def segment_command(place: Location) -> list[str]:
    return ["segment", str(place / "dataset"), str(place / "output"), *SEGMENT.split()]


def run_limited(place: Location, largest_file: int) -> subprocess.CompletedProcess[str]:
    """`ps3d segment` as a program of its own that may write no file above a size in bytes, its log at `place` too."""
    limited = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))\n"
        "from ps3d_app.flows.command.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", limited, *segment_command(place)]
    environment = os.environ | {"PS3D_HOME": f"{place}/home"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def assert_one_line_names_the_place(ended: subprocess.CompletedProcess[str], place: Location) -> None:
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    reason = "(no space left on device|file too large); make room or lift the limit there"
    assert re.match(rf"ps3d: error: scan {SCAN}: {place}/output/{SCAN}/.*: {reason}", last), last
    assert not job_in(place).result.run.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "largest_file",
    [
        pytest.param(16 * 2**10, id="border-core", marks=pytest.mark.soak),
        pytest.param(50 * 2**10, id="report"),
    ],
)
def test_files_that_may_not_grow_are_said_in_one_line(undisturbed, tmp_path, largest_file):
    place = dataset_to(Location.parse(tmp_path), undisturbed)
    assert_one_line_names_the_place(run_limited(place, largest_file), place)
    assert main(segment_command(place)) == 0
    assert results(place) == results(undisturbed.place)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own with little room."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted: {mounted.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_line_and_the_run_goes_on_when_there_is_room(undisturbed, small_disk):
    place = dataset_to(Location.parse(small_disk), undisturbed)
    assert_one_line_names_the_place(run_limited(place, 2**30), place)
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    assert main(segment_command(place)) == 0
    assert results(place) == results(undisturbed.place)
