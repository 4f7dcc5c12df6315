"""A run for every scan, on a real server and a folder: once each, on the right pool, and no more after a cancel.

Nothing runs here; what becomes of the runs is in `test_scan_runs`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import State

from ps3d_app.flows.process_inbox import process_inbox
from ps3d_app.flows.service.dispatch import dispatch
from ps3d_app.flows.service.inbox_events import Told, tell_news
from ps3d_app.flows.service.inbox_view import view
from ps3d_app.flows.service.local_server import Api
from ps3d_app.flows.service.prefect_api import PrefectApi
from ps3d_app.flows.service.stack.bootstrap import bootstrap, read_file
from ps3d_app.flows.service.watch_inbox import FromDeployment, Watcher, watched
from ps3d_core.inbox.again import retry
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing
from ps3d_core.params import InboxParams
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from tests.orchestration.test_inbox_flow import events_of

AT_ONCE = InboxParams(settle_seconds=0)


@pytest.fixture(scope="module")
def deployed(server: Api) -> str:
    """The server's URL, when it knows the deployments."""
    bootstrap(read_file("/nowhere"))
    return server.url


@pytest.fixture
def api(deployed: str) -> PrefectApi:
    return PrefectApi(deployed, os.environ.get("PREFECT_API_AUTH_STRING"), seconds=60)


@pytest.fixture
def client(deployed: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(Location.parse(tmp_path))


def drop(inbox: Inbox, name: str = "ore", **more: Any) -> None:
    (inbox.incoming / name / "s1.tif").write_bytes(b"not looked into")
    described = {"name": name, "spacing": 0.01, "particle_size": 0.1, **more}
    (inbox.incoming / name / "scan.json").write_text(json.dumps(described))


def listing(inbox: Inbox, api: PrefectApi, params: InboxParams = AT_ONCE) -> list[str]:
    return dispatch(inbox, InboxListing(inbox, params).scans(), params, {}, api)


def runs_of(client: SyncPrefectClient, inbox: Inbox) -> list[FlowRun]:
    ours = [run for run in client.read_flow_runs() if run.parameters.get("prefix") == str(inbox.prefix)]
    return sorted(ours, key=lambda run: (run.created is not None, run.created))


def ends_as(client: SyncPrefectClient, run: FlowRun, kind: StateType) -> None:
    client.set_flow_run_state(run.id, State[None](type=kind), force=True)


def pool_of(client: SyncPrefectClient, run: FlowRun) -> str | None:
    return client.read_flow_run(run.id).work_pool_name


def test_one_run_for_a_scan_whoever_looks_how_often(inbox: Inbox, api: PrefectApi, client: SyncPrefectClient) -> None:
    drop(inbox)
    drop(inbox, "waits", slices=2)
    assert listing(inbox, api) == ["ore: goes to pool cpu"]
    assert listing(inbox, api) == []
    assert listing(inbox, PrefectApi(api.url, api.key, seconds=60)) == []
    [run] = runs_of(client, inbox)
    assert run.name == "scan ore"
    assert run.parameters["scan"] == "ore"
    [arrival] = [arrival for arrival in InboxListing(inbox, AT_ONCE).arrivals if arrival.name == "ore"]
    assert run.parameters["digest"] == arrival.digest


def test_what_is_being_worked_on_already_gets_none(inbox: Inbox, api: PrefectApi) -> None:
    drop(inbox)
    with sole_run(inbox.lease("ore"), "scan ore"):
        assert listing(inbox, api) == []
    assert listing(inbox, api) == ["ore: goes to pool cpu"]


def test_one_that_has_changed_gets_another(inbox: Inbox, api: PrefectApi, client: SyncPrefectClient) -> None:
    drop(inbox)
    listing(inbox, api)
    drop(inbox, model="sand")
    assert len(listing(inbox, api)) == 1
    assert len(runs_of(client, inbox)) == 2


def test_a_cancelled_one_stays_so_until_it_is_asked_for(
    inbox: Inbox, api: PrefectApi, client: SyncPrefectClient
) -> None:
    drop(inbox)
    listing(inbox, api)
    [run] = runs_of(client, inbox)
    ends_as(client, run, StateType.CANCELLED)
    for _ in range(3):
        assert listing(inbox, api) == []
    [line] = view(inbox, api)
    assert (line.state, line.run) == ("cancelled", str(run.id))
    retry(inbox, "ore", {})
    assert listing(inbox, api) == ["ore: goes to pool cpu"]


def test_a_crashed_one_gets_as_many_runs_as_it_may_have(
    inbox: Inbox, api: PrefectApi, client: SyncPrefectClient
) -> None:
    drop(inbox)
    for number in range(1, AT_ONCE.attempts + 2):
        [said] = listing(inbox, api)
        assert said.endswith(f"run {number}" if number > 1 else "cpu")
        ends_as(client, runs_of(client, inbox)[-1], StateType.CRASHED)
    assert listing(inbox, api) == []


def test_one_that_lies_there_again_after_its_end_gets_another(
    inbox: Inbox, api: PrefectApi, client: SyncPrefectClient
) -> None:
    drop(inbox)
    listing(inbox, api)
    ends_as(client, runs_of(client, inbox)[-1], StateType.COMPLETED)
    found = InboxListing(inbox, AT_ONCE).scans()
    os.rename(inbox.incoming.local_path / "ore", inbox.prefix.local_path / "away")  # type: ignore[operator]
    assert dispatch(inbox, found, AT_ONCE, {}, api) == [], "it ended between the look and the question"
    os.rename(inbox.prefix.local_path / "away", inbox.incoming.local_path / "ore")  # type: ignore[operator]
    assert listing(inbox, api) == ["ore: goes to pool cpu, run 2"]


def test_where_scans_go(inbox: Inbox, api: PrefectApi, client: SyncPrefectClient) -> None:
    def pools(params: InboxParams = AT_ONCE) -> dict[str, str | None]:
        listing(inbox, api, params)
        return {run.name.removeprefix("scan "): pool_of(client, run) for run in runs_of(client, inbox)}

    drop(inbox, "any")
    drop(inbox, "wants gpu", pool="gpu")
    drop(inbox, "wants cpu", pool="cpu")
    assert pools() == {"any": "cpu", "wants gpu": "gpu", "wants cpu": "cpu"}
    drop(inbox, "by rule")
    drop(inbox, "but cpu", pool="cpu")
    found = pools(AT_ONCE.model_copy(update={"pool": "gpu"}))
    assert (found["by rule"], found["but cpu"]) == ("gpu", "cpu")
    drop(inbox, "now any")
    drop(inbox, "still cpu", pool="cpu")
    api.post("/work_pools/gpu/workers/heartbeat", {"name": "gpu-1"})
    try:
        found = pools()
    finally:  # the server is that of other tests as well
        client._client.delete("/work_pools/gpu/workers/gpu-1").raise_for_status()
    assert (found["now any"], found["still cpu"]) == ("gpu", "cpu")


def test_the_flow_starts_runs_too(inbox: Inbox, client: SyncPrefectClient, deployed: str) -> None:
    drop(inbox)
    resources = {"workers": 1, "memory_gib": 2}
    state = process_inbox(str(inbox.prefix), AT_ONCE, resources=resources, dispatch=True, return_state=True)
    assert (state.name, state.message) == ("Completed", "1 started")
    [run] = [run for run in runs_of(client, inbox) if run.name == "scan ore"]
    assert run.parameters["resources"]["memory_gib"] == 2
    again = process_inbox(str(inbox.prefix), AT_ONCE, dispatch=True, return_state=True)
    assert (again.name, again.message) == ("Idle", "nothing to start")


def test_the_watcher_does_what_its_deployment_says(
    inbox: Inbox, api: PrefectApi, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ps3d_app.flows.service.watch_inbox.ASK_EVERY_SECONDS", 0.0)
    deployment = client.read_deployment_by_name("process-inbox/process-inbox")
    said: list[str] = []
    watcher = Watcher(FromDeployment(api), api, said.append)
    params = {"settle_seconds": 0, "waiting_hours": 1e-6, "pool": "cpu"}
    api.patch(f"/deployments/{deployment.id}", {"parameters": {"prefix": str(inbox.prefix), "params": params}})
    api.post(f"/deployments/{deployment.id}/pause_deployment", {})
    drop(inbox)
    watcher.look()
    assert said == []
    api.post(f"/deployments/{deployment.id}/resume_deployment", {})
    drop(inbox, "slow", slices=2)
    (inbox.incoming / "notes.docx").write_bytes(b"x")
    time.sleep(0.1)
    watcher.look()
    assert said[0] == "ore: goes to pool cpu"
    assert said[1].startswith("slow: has waited for 0.0 h for 1 of 2 slices")
    assert said[2].startswith("notes.docx: neither a file of a scan")
    Watcher(FromDeployment(api), api, said.append).look()
    assert len(said) == 3, "each was told once, whoever watches"
    [run] = runs_of(client, inbox)
    assert run.parameters["params"]["settle_seconds"] == 0
    told = events_of(client, str(inbox.prefix), 2)
    assert sorted((event["event"], event["resource"]["prefect.resource.name"]) for event in told) == [
        ("scan.unknown", "notes.docx"),
        ("scan.waiting", "slow"),
    ]


def test_news_wait_for_a_server_that_is_away(inbox: Inbox) -> None:
    (inbox.incoming / "notes.docx").write_bytes(b"x")
    nobody, told = PrefectApi("http://127.0.0.1:9/api"), Told(inbox)
    seen = InboxListing(inbox, AT_ONCE)
    with pytest.raises(Exception, match="127.0.0.1:9/api: ".replace(".", r"\.")):
        tell_news(inbox, seen, seen.scans(), AT_ONCE, told, nobody)
    assert not inbox.told.children()


def test_the_watcher_is_small() -> None:
    heavy = {"torch", "prefect", "scipy", "numba"}
    code = f"import sys, ps3d_app.flows.service.watch_inbox; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_deployment_that_says_nonsense_is_named() -> None:
    with pytest.raises(ValueError, match=r"deployment process-inbox/process-inbox, params: settle_seconds -1: must be"):
        watched({"prefix": "/x", "params": {"settle_seconds": -1}})
    with pytest.raises(ValueError, match="no prefix among its parameters"):
        watched({"params": {}})
