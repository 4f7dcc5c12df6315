"""Runs of scans on a real server, a real S3 and two workers: cancelled, retried, requeued, killed; each scan once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelling

from ps3d_core.inbox.layout import Inbox
from ps3d_core.store.location import Location
from tests.integration.inbox_drops import DIAMETER, drop
from tests.orchestration.stack_process import ROOT, STORE, Up, free_port, gone, variable_of, wait_until

pytestmark = pytest.mark.soak

# Every voxel becomes 27, so that the work on it takes a while.
SLOW = {"settings": {"quality": "reference", "mirror": False, "target_particle_size": 3 * DIAMETER}}
STOPS_WITHIN_SECONDS = 30.0
LOOKS_SECONDS = 40.0
"""In which the watcher has looked twice."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("stack"), "--workers", "2", "--s3-port", str(free_port()))
    try:
        running.await_ready()
        with pytest.MonkeyPatch.context() as patch, running.client() as client:
            for name, value in running.keys.items():
                patch.setenv(name, value)
            [queue] = [queue for queue in client.read_work_queues(work_pool_name="cpu") if queue.name == "segment"]
            client.update_work_queue(queue.id, concurrency_limit=2)
            yield running
    finally:
        running.kill()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(Location.parse(STORE))


def runs_of(up: Up, scan: str) -> list[FlowRun]:
    with up.client() as client:
        found = [run for run in client.read_flow_runs(limit=200) if run.name == f"scan {scan}"]
    return sorted(found, key=lambda run: str(run.created))


def in_the_middle(up: Up, inbox: Inbox, scan: str) -> FlowRun:
    """The run of the scan when it has begun to segment."""
    wait_until(lambda: (inbox.result(scan).work / "ledger").is_dir() or inbox.result(scan).work.find())
    [run] = runs_of(up, scan)
    assert run.state_name == "Running"
    return run


def process_of(up: Up, run: FlowRun) -> psutil.Process | None:
    found = [process for process in up.family() if variable_of(process, "PREFECT__FLOW_RUN_ID") == str(run.id)]
    return found[0] if found else None


def command(up: Up, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ps3d_app.flows.command.cli", *words],
        cwd=ROOT,
        env={"PS3D_HOME": str(up.home), "PATH": "", "HOME": str(up.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_in_state(up: Up, scan: str, state: str) -> bool:
    return any(line.split()[:2] == [scan, state] for line in command(up, "inbox", "list").splitlines())


def segmented(up: Up) -> Counter[str]:
    """How often each scan was told to be done."""
    with up.client() as client:
        wanted = {"filter": {"event": {"name": ["scan.segmented"]}}}
        events = client._client.post("/events/filter", json=wanted).json()["events"]
    return Counter(event["payload"]["scan"] for event in events)


def test_every_scan_comes_out_once_whatever_is_done_to_its_run(up: Up, inbox: Inbox, tmp_path: Path) -> None:
    drop(inbox.incoming, "cancelled", **SLOW)
    drop(inbox.incoming, "bad", particle_size=None)

    # Cancelled in the middle, it stops soon, and stays where it is.
    run = in_the_middle(up, inbox, "cancelled")
    process = process_of(up, run)
    assert process is not None
    began = time.monotonic()
    with up.client() as client:
        client.set_flow_run_state(run.id, Cancelling())
        wait_until(lambda: gone([process]))
        assert time.monotonic() - began < STOPS_WITHIN_SECONDS
        wait_until(lambda: client.read_flow_run(run.id).state_type == StateType.CANCELLED)

    # A worker is killed: its run is taken up again.
    drop(inbox.incoming, "orphaned", **SLOW)
    drop(inbox.incoming, "plain")
    orphan = in_the_middle(up, inbox, "orphaned")
    working = process_of(up, orphan)
    assert working is not None
    worker = next(parent for parent in working.parents() if {"worker", "start"} <= set(parent.cmdline()))
    worker.kill()
    assert up.end_of(orphan).state_name == "Completed"

    # What failed is mended and asked for with one command.
    wait_until(lambda: is_in_state(up, "bad", "failed"))
    said = command(up, "inbox", "retry", "bad", "--particle-size", f"{DIAMETER / 100}")
    assert said == f"bad: back in the inbox, as {STORE}/inbox/bad/scan.json\n"

    # The stack begins anew: what was cancelled stays cancelled.
    wait_until(lambda: {"bad", "orphaned", "plain"} <= set(inbox.done.children()))
    up.one("ps3d_app.flows.service.watch_inbox").kill()
    time.sleep(LOOKS_SECONDS)
    assert [run.state_name for run in runs_of(up, "cancelled")] == ["Cancelled"]
    assert is_in_state(up, "cancelled", "cancelled")

    # Retried as the page of the run does it, it goes on.
    with up.client() as client:
        client.set_flow_run_state(run.id, AwaitingRetry(message="asked for by hand"))
    assert up.end_of(run).state_name == "Completed"

    assert inbox.done.children() == ["bad", "cancelled", "orphaned", "plain"]
    assert inbox.failed.children() == [] or not inbox.failed.find(hidden=True)
    assert inbox.journals.children() == []
    wait_until(lambda: segmented(up) >= Counter(inbox.done.children()))  # events come a moment later
    assert segmented(up) == Counter(inbox.done.children())
    ended = {scan: [run.state_name for run in runs_of(up, scan)] for scan in inbox.done.children()}
    once = {scan: ["Completed"] for scan in ("cancelled", "orphaned", "plain")}
    assert ended == {"bad": ["Failed", "Completed"], **once}

    # And a result comes home.
    fetched = command(up, "fetch", "plain", str(tmp_path)).strip()
    assert fetched == str(tmp_path / "plain")
    result = inbox.result("plain")
    assert (tmp_path / "plain" / "particles.csv").read_bytes() == result.table_csv.read_bytes()
    assert (tmp_path / "plain" / "plain.zarr" / "zarr.json").exists()
    assert command(up, "fetch", "plain", str(tmp_path)) == f"{fetched} (all was there)\n"


def test_a_failed_run_that_is_retried_takes_the_scan_out_of_failed(up: Up, inbox: Inbox) -> None:
    drop(inbox.incoming, "modelled", model="sand")
    wait_until(lambda: is_in_state(up, "modelled", "failed"))
    [run] = runs_of(up, "modelled")
    assert "sand" in (inbox.failed / "modelled" / "reason.txt").read_text()
    bundled = Location.parse(Path(sys.modules["ps3d_core"].__path__[0]) / "network" / "bundled")
    for name in bundled.find():
        (inbox.model("sand") / name).write_bytes((bundled / name).read_bytes())
    with up.client() as client:
        client.set_flow_run_state(run.id, AwaitingRetry(message="asked for by hand"))
    assert up.end_of(run).state_name == "Completed"
    wait_until(lambda: "modelled" in inbox.done.children())
    others = [up.end_of(other).state_name for other in runs_of(up, "modelled") if other.id != run.id]
    assert set(others) <= {"Gone"}, "nobody else did it"


def test_a_held_run_that_is_retried_takes_the_scan_again_and_a_release_ends_it(up: Up, inbox: Inbox) -> None:
    drop(inbox.incoming, "odd", on_doubt="hold")
    wait_until(lambda: is_in_state(up, "odd", "held"))
    [run] = runs_of(up, "odd")
    assert up.end_of(run).state_name == "Held"
    finished = inbox.result("odd").run.read_json()["finished"]
    with up.client() as client:
        client.set_flow_run_state(run.id, AwaitingRetry(message="asked for by hand"), force=True)
    wait_until(lambda: inbox.result("odd").run.exists() and inbox.result("odd").run.read_json()["finished"] != finished)
    assert up.end_of(run).state_name == "Held"
    time.sleep(LOOKS_SECONDS)
    others = [up.end_of(other).state_name for other in runs_of(up, "odd") if other.id != run.id]
    assert set(others) <= {"Gone"}, "nobody else did it"
    assert command(up, "inbox", "release", "odd").startswith("odd: accepted; ")
    assert is_in_state(up, "odd", "done")


def test_what_is_not_the_scans_fault_is_waited_for_without_a_place(up: Up, inbox: Inbox) -> None:
    metadata = inbox.dataset.metadata
    before = metadata.read_bytes() if metadata.exists() else b"{}"
    metadata.write_text("{")
    try:
        drop(inbox.incoming, "patient")
        wait_until(lambda: [run.state_name for run in runs_of(up, "patient")] == ["AwaitingRetry"])
        [run] = runs_of(up, "patient")
        assert "metadata.json: not valid JSON" in str(run.state and run.state.message)
        assert run.infrastructure_pid is None
        with up.client() as client:
            client.set_flow_run_state(run.id, Cancelling())
            assert client.read_flow_run(run.id).state_type == StateType.CANCELLED, "there is no process to wait for"
    finally:
        metadata.write_bytes(before)
    with up.client() as client:
        client.set_flow_run_state(run.id, AwaitingRetry(message="asked for by hand"))
    assert up.end_of(run).state_name == "Completed"
    assert "patient" in inbox.done.children()
