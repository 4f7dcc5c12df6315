"""Whatever is killed, no run and no task is shown as being worked on that no process works on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location
from tests.orchestration.stack_process import ROOT, Up, gone, status_of, variable_of, wait_until

pytestmark = pytest.mark.soak

SCAN = "ore"
SLOW = {
    "params": {"predict": {"device": "cpu", "quality": "reference", "mirror": False}},
    "resources": {"workers": 1, "memory_gib": 4},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    params = PhantomParams(shape=(96, 96, 96), particle_size_voxels=22, seed=0, dtype="uint16")
    write_phantom(params, Location.parse(tmp_path / "data"), SCAN, spacing=0.01)
    return tmp_path / "home"


@pytest.fixture
def stacks(home: Path) -> Iterator[list[Up]]:
    started: list[Up] = []
    yield started
    for up in started:
        up.kill()


def start(stacks: list[Up], home: Path) -> Up:
    up = Up(home, "--store", str(home.parent))
    stacks.append(up)
    up.await_ready()
    return up


def segmenting(up: Up, output: str) -> tuple[FlowRun, psutil.Process]:
    """A run with one below it, and its process, in the middle of its work."""
    place = Location.parse(up.home.parent / output)
    run = up.run("segment-dataset", dataset=str(up.home.parent / "data"), output=str(place), **SLOW)
    wait_until((place / SCAN / ".work").find)
    return run, wait_until(lambda: process_of(up, run))


def process_of(up: Up, run: FlowRun) -> psutil.Process | None:
    return next((p for p in up.family() if variable_of(p, "PREFECT__FLOW_RUN_ID") == str(run.id)), None)


def shown_at_work(home: Path) -> list[str]:
    """Runs and tasks that the database, which needs no server, has in a state that something works on."""
    with closing(sqlite3.connect(f"file:{home / 'prefect' / 'prefect.db'}?mode=ro", uri=True)) as database:
        query = "SELECT name, state_type FROM {} WHERE state_type IN ('RUNNING', 'PENDING', 'CANCELLING')"
        return [f"{table} {row}" for table in ("flow_run", "task_run") for row in database.execute(query.format(table))]


def below(up: Up, run: FlowRun) -> list[FlowRun]:
    with up.client() as client:
        parent = FlowRunFilterParentFlowRunId(any_=[run.id])
        return client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent))


def test_no_state_lies_after_kills_and_restarts(home: Path, stacks: list[Up]) -> None:
    up = start(stacks, home)
    # The process of a run is killed, and a command that runs its flow itself.
    killed, process = segmenting(up, "killed")
    process.kill()
    alone = segment_alone(home)
    # A run below another one is cancelled, which stops nothing, and everything is stopped in the middle of it.
    stopped, _ = segmenting(up, "stopped")
    with up.client() as client:
        client.set_flow_run_state(below(up, stopped)[0].id, Cancelling(), force=True)
    family = up.family()
    assert up.stop()[0] == 0
    assert gone(family)
    assert shown_at_work(home) == []

    up = start(stacks, home)
    assert up.end_of(stopped).state_name == "Completed"
    assert up.end_of(killed).state_name == "Crashed"
    assert alone in {run.name for run in below_nothing(up) if run.state_name == "Crashed"}
    # The server is killed: it comes back, and the run goes on or crashes; then all of the stack is.
    _, process = segmenting(up, "server")
    up.one("ps3d_app.flows.service.server_process").kill()
    wait_until(lambda: answers(up))
    interrupted, _ = segmenting(up, "interrupted")
    family = up.family()
    up.kill()
    wait_until(lambda: gone(family))

    up = start(stacks, home)
    assert up.end_of(interrupted).state_name == "Completed"
    assert Result(Location.parse(home.parent / "interrupted"), SCAN).run.exists()
    assert up.stop()[0] == 0
    assert shown_at_work(home) == []


def answers(up: Up) -> bool:
    try:
        return status_of(f"{up.ui}/api/health") == HTTPStatus.OK
    except OSError:
        return False


def below_nothing(up: Up) -> list[FlowRun]:
    with up.client() as client:
        return [run for run in client.read_flow_runs() if run.parent_task_run_id is None]


def segment_alone(home: Path) -> str:
    """Name of the run of `ps3d segment` that was killed in the middle of its work."""
    place = home.parent / "alone"
    command = [
        sys.executable,
        "-m",
        "ps3d_app.flows.command.cli",
        "segment",
        str(home.parent / "data"),
        str(place),
        "--no-tta",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(command, cwd=ROOT, env=environment | {"PS3D_HOME": str(home)}) as process:
        wait_until((Location.parse(place) / SCAN / ".work").find)
        process.send_signal(signal.SIGKILL)
    return f"segment {SCAN}"
