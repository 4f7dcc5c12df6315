"""`ps3d up` for real: Prefect server, S3 server, worker and flow runs, each a process; and what a kill does to them."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

from ps3d_app.flows.command import demo
from ps3d_app.flows.service.stack.bootstrap import bootstrap, read_file
from ps3d_app.flows.service.stack.state import StackState, running_stack
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.progress import SILENT
from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from tests.orchestration.conftest import SHAPE
from tests.orchestration.stack_process import (
    ROOT,
    STORE,
    Up,
    asked,
    assert_scan_comes_out,
    drop_scan,
    free_port,
    gone,
    status_of,
    variable_of,
    wait_until,
)
from tests.orchestration.test_flows import artifacts_of

SCAN = "ore <b>7_"
FOR_THE_INBOX = ("process-inbox", "process-scan", "retry-scan", "release-scan")
FAST = {"params": {"predict": {"mirror": False, "device": "cpu"}}, "resources": {"workers": 1, "memory_gib": 4}}
JOB = {"dataset": f"{STORE}/data", "scan": SCAN, **FAST}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def up(home: Path) -> Iterator[Up]:
    running = Up(home, "--s3-port", str(free_port()))
    try:
        running.await_ready()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in running.keys.items():
                patch.setenv(name, value)
            drop_scan()
            params = PhantomParams(shape=SHAPE, particle_size_voxels=22, seed=0, dtype="uint16")
            write_phantom(params, Location.parse(f"{STORE}/data"), SCAN, spacing=0.01)
            yield running
    finally:
        running.kill()


def worker_of(up: Up) -> psutil.Process:
    return up.one("worker", "start")


def test_everything_runs_on_loopback_and_s3_wants_keys(up: Up) -> None:
    assert "<html" in subprocess.run(["curl", "-s", up.ui], capture_output=True, text=True).stdout
    settings = json.loads(subprocess.run(["curl", "-s", f"{up.ui}/ui-settings"], capture_output=True).stdout)
    assert settings["api_url"] == "/api"  # the page finds its server at whatever port that is
    listening = [
        connection.laddr
        for process in up.family()
        for connection in asked(lambda process=process: process.net_connections("inet")) or []
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) > 5
    assert status_of(f"{up.keys['AWS_ENDPOINT_URL']}/scans") == 403
    # Behind the S3 server are more web servers; none of them shows or takes a file.
    for address in listening:
        assert status_of_bucket(address.port) not in (200, 201, 204)
    for file in (up.home / "s3").iterdir():
        assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def status_of_bucket(port: int) -> int:
    try:
        return status_of(f"http://127.0.0.1:{port}/buckets/scans/data/metadata.json")
    except (OSError, HTTPException):
        return 0  # not HTTP


def test_a_deployment_puts_its_results_into_the_bucket(up: Up) -> None:
    run = up.run("segment-scan", output=f"{STORE}/results", **JOB)
    ended = up.end_of(run)
    assert ended.state_name == "Completed", ended.state
    assert ended.name == f"segment {SCAN}"
    result = Result(Location.parse(f"{STORE}/results"), SCAN)
    assert open_image(result.labels).shape == SHAPE
    assert result.report.exists()
    assert result.table_csv.read_text().count("\n") == result.run.read_json()["counts"]["particles"] + 1
    with up.client() as client:
        shown = {str(a.description): str(a.data) for a in artifacts_of(client, run.id)}
    page = next(data for description, data in shown.items() if "where the results lie" in description)
    assert f"`{result.report}`" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "data:image/svg+xml;base64," in page
    assert any("diameter_mm" in data for data in shown.values())
    assert not [text for text in shown if "<b>" in text]  # names are shown, not rendered


@pytest.mark.soak
def test_every_deployment_runs_on_the_demo_with_its_defaults(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    small = demo.demo_params().model_copy(update={"shape": (48, 48, 48), "tube": None})
    monkeypatch.setattr(demo, "demo_params", lambda: small)
    place = Location.parse(f"{STORE}/demo")
    demo.make_scan(place, Dataset(place / "data"), Dataset(place / "truth"), SILENT)
    deployments = [d.name for d in read_file(STORE).deployments if d.work_pool.name == "cpu"]
    after_others = "train-model"  # on what prepare-training-data made
    runs = {name: up.run(name) for name in deployments if name not in (after_others, *FOR_THE_INBOX)}
    ended = {name: up.end_of(run).state_name for name, run in runs.items()}
    ended[after_others] = up.end_of(up.run(after_others)).state_name
    assert ended == dict.fromkeys(ended, "Completed")
    assert up.end_of(up.run("process-inbox")).state_name in ("Idle", "Completed")


def test_a_scan_dropped_into_the_bucket_comes_out_as_particles(up: Up) -> None:
    assert_scan_comes_out(up)


def test_a_relative_path_in_a_form_is_refused(up: Up) -> None:
    run = up.run("prune-work", output="results")
    ended = up.end_of(run)
    assert ended.state_name == "Failed"
    assert "a relative path means nothing to a worker" in str(ended.state.message)


def test_run_of_a_killed_worker_continues_with_the_next(up: Up) -> None:
    run = up.run("segment-dataset", dataset=f"{STORE}/data", scans=[SCAN], output=f"{STORE}/killed", **FAST)

    def process_of_run() -> psutil.Process | None:
        found = [p for p in up.family() if variable_of(p, "PREFECT__FLOW_RUN_ID") == str(run.id)]
        return found[0] if found else None

    work = Location.parse(f"{STORE}/killed") / SCAN / ".work"
    wait_until(process_of_run)
    wait_until(work.find)
    old, running = worker_of(up), process_of_run()
    old.kill()
    ended = up.end_of(run)
    assert ended.state_name == "Completed", ended.state
    assert ended.run_count == 2
    assert running is not None
    assert gone([old, running])
    with up.client() as client:
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        states = {child.state_name for child in client.read_flow_runs(flow_run_filter=below)}
    assert states == {"Crashed", "Completed"}  # none is shown as running for ever
    assert Result(Location.parse(f"{STORE}/killed"), SCAN).run.exists()


def test_killed_s3_server_comes_back_with_its_data(up: Up) -> None:
    server = up.one("mini")
    server.kill()
    wait_until(lambda: gone([server]))
    assert Result(Location.parse(f"{STORE}/results"), SCAN).run.read_json()["scan"] == SCAN
    said = rf"S3 server +well; .*, started again 1 times(?s:.*)Completed  segment {SCAN}"
    wait_until(lambda: re.search(said, status_command(up).stdout))  # a busy part answers later than the command waits


def status_command(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ps3d_app.flows.command.cli", "status", *arguments],
        cwd=ROOT,
        env={"PS3D_HOME": str(up.home), "PATH": "", "HOME": str(up.home)},
        capture_output=True,
        text=True,
    )


def test_status_names_each_part_that_is_frozen(up: Up) -> None:
    well = json.loads(wait_until(lambda: (done := status_command(up, "--json")).returncode == 0 and done.stdout))
    assert well["well"]
    assert {"cpu", "gpu"} == {pool["name"] for pool in well["history"]["pools"]}
    frozen = {
        "Prefect server": up.one("ps3d_app.flows.service.server_process"),
        "supervisor": psutil.Process(up.process.pid),
        **{part.name: psutil.Process(part.pid).children()[0] for part in running_stack_of(up).parts},
    }
    assert set(frozen) == {part["part"] for part in well["parts"]} >= {"S3 server", "worker cpu-1"}
    for part, process in frozen.items():
        process.suspend()
        try:
            done = status_command(up)
        finally:
            process.resume()
        log = next(found["log"] for found in well["parts"] if found["part"] == part)
        assert done.returncode == 1
        assert f"{part}: process {process.pid} was stopped by a signal" in done.stderr
        assert f"(log: {log})" in done.stderr
        assert Path(log).exists()
    wait_until(lambda: status_command(up).returncode == 0)


def running_stack_of(up: Up) -> StackState:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PS3D_HOME", str(up.home))
        found = running_stack()
    assert found is not None
    return found


def test_bootstrap_again_changes_nothing(up: Up) -> None:
    def everything() -> list[dict[str, Any]]:
        with up.client() as client:
            pools = client.read_work_pools()
            queues = [queue for pool in pools for queue in client.read_work_queues(work_pool_name=pool.name)]
            found = [*pools, *queues, *client.read_deployments()]
        passing = {"last_polled", "status", "updated"}  # workers that poll change these; schedules keep theirs
        return [item.model_dump(mode="json", exclude=passing) for item in found]

    before = everything()
    assert {item["name"] for item in before} > {"cpu", "gpu", "segment", "process-inbox", "segment-scan", "prune-work"}
    content = read_file(STORE)
    changed = content.deployments[0].model_copy(update={"tags": ["other"]})
    with up.connected():
        assert bootstrap(content) == []
        assert everything() == before
        # And what has changed is written, in its place.
        assert bootstrap(content.model_copy(update={"deployments": [changed]})) == [f"deployment {changed.name}"]
    after = {item["id"]: item for item in everything()}
    assert [item["name"] for item in before if after[item["id"]] != item] == [changed.name]


def test_a_second_stack_is_refused(up: Up, tmp_path: Path) -> None:
    same = Up(up.home)
    out, err = same.process.communicate()
    assert (same.process.returncode, out) == (2, "")
    assert f"ps3d up runs already (process {up.process.pid}, {up.first_page})" in err

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = Up(tmp_path, "--s3-port", str(port))
        _, err = other.process.communicate()
    assert other.process.returncode == 2
    assert err.startswith(f"ps3d: error: port {port}: cannot be used (address already in use); stop what uses it, or ")
    assert err.count("\n") == 1


def test_kill_leaves_nothing_and_the_next_start_has_everything(up: Up) -> None:
    family = up.family()
    secret = up.keys["AWS_SECRET_ACCESS_KEY"].encode()
    up.kill()
    wait_until(lambda: gone(family))
    temporary = up.home / "stack" / "tmp"  # where Prefect writes down what a run is given
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    for file in up.home.rglob("*"):
        if file.is_file() and file.parent.name != "s3" and not file.is_relative_to(temporary):
            assert secret not in file.read_bytes(), file
    # Some folders there have the same names in every stack; what lies in them tells which they are.
    left = [folder / "left" for folder in temporary.iterdir() if folder.is_dir()]
    assert left
    for mark in left:
        mark.touch()

    port = up.keys["AWS_ENDPOINT_URL"].rpartition(":")[2]
    again = Up(up.home, "--s3-port", port)
    try:
        again.await_ready()
        with again.client() as client:
            assert f"segment {SCAN}" in {run.name for run in client.read_flow_runs()}
        assert not [mark for mark in left if mark.exists()]
        assert Result(Location.parse(f"{STORE}/results"), SCAN).run.exists()
        family = again.family()
        status, out, err = again.stop()
        assert (status, out, err) == (0, "stopped\n", "")
        assert gone(family)
    finally:
        again.kill()
