"""Which work folders go: those of no living run, old enough, and nothing but them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ps3d_core.errors import InputError
from ps3d_core.params import RetentionParams, SegmentParams
from ps3d_core.record import RunRecord, write_record
from ps3d_core.retention import find_leftovers, remove_leftover
from ps3d_core.store import lease
from ps3d_core.store.layout import Result
from ps3d_core.store.lease import Owner, is_held, sole_run
from ps3d_core.store.location import Location

DAY = 86400.0
OLD = RetentionParams(older_than_days=10)


def record_of(scan: str) -> RunRecord:
    names = ("software", "input", "model", "grids", "counts", "seconds", "results", "stages")
    empty: dict[str, Any] = {name: {} for name in names}
    return RunRecord(scan=scan, fingerprint="f", finished="2026-01-01", parameters=SegmentParams(), **empty)


def made(output: Location, scan: str, *, finished: bool, age_days: float) -> Result:
    """A result with 30 bytes of intermediates, the last of them so old."""
    result = Result(output, scan)
    (result.work / "ledger" / "predict" / "0.json").write_bytes(b"x" * 10)
    (result.work / "a.zarr" / "c" / "0").write_bytes(b"x" * 20)
    (result.labels / "zarr.json").write_bytes(b"{}")
    if finished:
        write_record(result.run, record_of(scan))
    written = time.time() - age_days * DAY
    for name in result.work.find():
        path = (result.work / name).local_path
        assert path is not None
        os.utime(path, (written, written))
    return result


@pytest.fixture
def output(tmp_path: Path) -> Location:
    place = Location.parse(tmp_path / "results")
    made(place, "finished", finished=True, age_days=20)
    made(place, "given up", finished=False, age_days=20)
    made(place, "new", finished=False, age_days=5)
    Result(place, "clean").run.write_bytes(b"{}")
    return place


def test_what_goes_and_what_stays(output: Location) -> None:
    with sole_run(made(output, "running", finished=False, age_days=20).lease, "scan running"):
        found = {leftover.scan: leftover for leftover in find_leftovers(output, OLD)}
        assert {scan: (x.state, x.expired, x.files, x.bytes) for scan, x in found.items()} == {
            "finished": ("finished", True, 2, 30),
            "given up": ("abandoned", True, 2, 30),
            "new": ("abandoned", False, 2, 30),
            "running": ("running", False, 2, 30),
        }
        before = {scan: Result(output, scan).root.find().keys() for scan in ("new", "running")}
        assert sum(remove_leftover(leftover) for leftover in found.values()) == 60
        assert {scan: Result(output, scan).root.find().keys() for scan in ("new", "running")} == before
    assert set(Result(output, "finished").root.find()) == {"run.json", "finished.zarr/zarr.json", ".lease/1.json"}
    assert [x.scan for x in find_leftovers(output, OLD)] == ["new", "running"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data.replace(b'"f"', b'"g"'), lambda data: b"{}"]
)
def test_a_damaged_record_is_no_sign_of_a_whole_result(output: Location, damage: Callable[[bytes], bytes]) -> None:
    run = Result(output, "finished").run
    run.write_bytes(damage(run.read_bytes()))
    assert {x.state for x in find_leftovers(output, OLD) if x.scan == "finished"} == {"abandoned"}


def test_only_the_states_that_were_asked_for(output: Location) -> None:
    params = RetentionParams(older_than_days=0, states=("finished",))
    assert [x.scan for x in find_leftovers(output, params) if x.expired] == ["finished"]


def test_a_run_that_begins_after_the_look_keeps_its_folder(output: Location) -> None:
    leftover = next(x for x in find_leftovers(output, OLD) if x.scan == "given up")
    with sole_run(leftover.result.lease, "scan given up"), pytest.raises(InputError, match="is working on it"):
        remove_leftover(leftover)
    assert leftover.result.work.find()


@pytest.mark.parametrize(("silent_for", "held"), [(60.0, True), (7200.0, False)])
def test_a_run_elsewhere_lives_while_it_says_so(tmp_path: Path, silent_for: float, held: bool) -> None:
    place = Location.parse(tmp_path)
    owner = Owner("token", "elsewhere:1:2", 1, 0.0, time.time() - silent_for)
    lease._file(place, 3).write_json(asdict(owner))
    assert is_held(place) is held
    lease._file(place, 4).write_json(asdict(owner) | {"free": True})
    assert not is_held(place)


def test_no_folder_no_leftovers(tmp_path: Path) -> None:
    assert list(find_leftovers(Location.parse(tmp_path / "none"))) == []
