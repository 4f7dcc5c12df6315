"""The inbox as a flow: a run per scan that says what became of it, and events that automations can wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun

from ps3d_app.flows.process_inbox import process_inbox
from ps3d_app.flows.process_scan import process_scan
from ps3d_app.flows.release_scan import release_scan
from ps3d_app.flows.retry_scan import retry_scan
from ps3d_core.inbox.layout import Inbox
from ps3d_core.params import InboxParams
from ps3d_core.store.location import Location
from tests.integration.inbox_drops import drop
from tests.orchestration.conftest import PARAMS, RESOURCES

pytestmark = pytest.mark.usefixtures("server")

AT_ONCE = InboxParams(settle_seconds=0)


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


def events_of(client: SyncPrefectClient, prefix: str, count: int) -> list[dict[str, Any]]:
    """Events of scans of this inbox, oldest first; they arrive a moment after they were emitted."""
    give_up = time.monotonic() + 60
    while True:
        wanted = {"filter": {"event": {"prefix": ["scan."]}}}
        found = client._client.post("/events/filter", json=wanted).json()["events"]
        ours = [event for event in found if event["payload"].get("prefix") == prefix]
        if len(ours) >= count or time.monotonic() > give_up:
            return sorted(ours, key=lambda event: event["occurred"])
        time.sleep(0.2)


def runs_named(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    return [run for run in client.read_flow_runs() if run.name == name]


def test_good_and_bad_scans_have_runs_and_events(client: SyncPrefectClient, tmp_path: Path) -> None:
    inbox = Inbox(Location.parse(tmp_path))
    drop(inbox.incoming, "inbox good")
    drop(inbox.incoming, "inbox bad", name="../../evil")
    drop(inbox.incoming, "inbox waits", slices=5)
    state = process_inbox(str(tmp_path), AT_ONCE, segmentation=PARAMS, resources=RESOURCES, return_state=True)
    assert state.is_completed()
    assert state.message == "1 processed, 1 failed, 1 not complete"
    assert inbox.result("inbox good").run.exists()
    assert state.result().done["inbox good"].particles > 3
    again = process_inbox(str(tmp_path), AT_ONCE, return_state=True)
    assert (again.is_completed(), again.name, again.message) == (True, "Idle", "1 not complete")

    [good] = runs_named(client, "scan inbox good")
    assert good.state_name == "Completed"
    assert good.parameters["claim"]["description"]["spacing"] == 0.01
    assert not runs_named(client, "segment inbox good"), "there is one run to look at, and to cancel"
    [bad] = runs_named(client, "scan inbox bad")
    assert bad.state is not None
    assert bad.state_name == "Failed"
    assert "name '../../evil': must be" in str(bad.state.message)
    assert "moved to failed/inbox bad" in str(bad.state.message)
    assert not runs_named(client, "scan inbox waits")

    events = events_of(client, str(inbox.prefix), 5)
    assert sorted((event["event"], event["payload"]["scan"]) for event in events) == [
        ("scan.doubtful", "inbox good"),
        ("scan.failed", "inbox bad"),
        ("scan.received", "inbox bad"),
        ("scan.received", "inbox good"),
        ("scan.segmented", "inbox good"),
    ]
    [segmented] = [event for event in events if event["event"] == "scan.segmented"]
    assert segmented["resource"]["prefect.resource.id"].startswith("ps3d.scan.inbox-good-")
    assert segmented["resource"]["prefect.resource.name"] == "inbox good"
    assert segmented["payload"]["report"] == str(inbox.result("inbox good").report)
    [doubtful] = [event for event in events if event["event"] == "scan.doubtful"]
    assert doubtful["payload"]["reasons"][-1].endswith("particles are too few for a size distribution")
    assert doubtful["payload"]["grade"] == segmented["payload"]["grade"] != "good"
    [failed] = [event for event in events if event["event"] == "scan.failed"]
    assert "name '../../evil': must be" in failed["payload"]["reason"]
    assert {"inbox"} <= {related["prefect.resource.role"] for related in failed["related"]}


def test_a_held_scan_has_a_run_and_an_event_and_flows_to_decide(client: SyncPrefectClient, tmp_path: Path) -> None:
    inbox = Inbox(Location.parse(tmp_path))
    drop(inbox.incoming, "held one")
    hold = InboxParams(settle_seconds=0, on_doubt="hold")
    state = process_inbox(str(tmp_path), hold, segmentation=PARAMS, resources=RESOURCES, return_state=True)
    assert (state.is_completed(), state.message) == (True, "1 held")
    doubt = state.result().held["held one"].verdict.doubt
    assert doubt is not None
    [run] = runs_named(client, "scan held one")
    assert run.state is not None
    assert (run.state.is_completed(), run.state.name, run.state.message) == (True, "Held", doubt)
    events = events_of(client, str(inbox.prefix), 4)
    happened = ["scan.received", "scan.segmented", "scan.doubtful", "scan.held"]
    assert [event["event"] for event in events] == happened
    assert events[-1]["payload"]["reason"] == doubt

    assert retry_scan(str(tmp_path)) == [], "all that failed, and it did not"
    assert retry_scan(str(tmp_path), "held one", particle_size="0.13mm") == [
        f"held one: back in the inbox, as {inbox.incoming}/held one/scan.json"
    ]
    settings = {"params": hold, "segmentation": PARAMS, "resources": RESOURCES}
    state = process_scan(str(tmp_path), "held one", **settings, return_state=True)
    assert (state.name, inbox.held.children()) == ("Held", ["held one"])
    assert state.result().parameters.predict.mirror is False
    assert "accepted" in release_scan(str(tmp_path), "held one")
    assert (inbox.done.children(), inbox.held.children()) == (["held one"], [])
    assert inbox.result("held one").run.exists()


def test_what_is_not_a_scans_fault_fails_the_run(tmp_path: Path) -> None:
    drop(Inbox(Location.parse(tmp_path)).incoming, "ore")
    state = process_inbox(str(tmp_path), AT_ONCE, model=str(tmp_path / "no-model"), return_state=True)
    assert state.is_failed()
    assert "nothing there; give a bundle" in str(state.message)
    assert (tmp_path / "inbox" / "ore" / "scan.json").exists()


def test_the_form_explains_itself() -> None:
    schema = process_inbox.parameters.model_dump()
    assert "inbox/" in schema["properties"]["prefix"]["description"]
    settle = schema["definitions"]["InboxParams"]["properties"]["settle_seconds"]
    assert (settle["minimum"], settle["maximum"], settle["default"]) == (0, 86400, 60)
    assert all(field["description"] for field in schema["definitions"]["InboxParams"]["properties"].values())
