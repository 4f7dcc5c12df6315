"""prefect.yaml: every deployment has a form that explains itself, and defaults that the form accepts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.flows import load_flow_from_entrypoint
from prefect.states import Running

from ps3d_app import deployments
from ps3d_app.flows.prune_work import prune_work
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.flows.service.stack.bootstrap import Deployment, bootstrap, read_file
from ps3d_core.errors import InputError

DEPLOYMENTS = {deployment.name: deployment for deployment in read_file("s3://bucket/x/").deployments}


def flow_of(deployment: Deployment) -> Any:
    return load_flow_from_entrypoint(deployment.entrypoint, use_placeholder_flow=False)


def test_what_there_is() -> None:
    assert set(DEPLOYMENTS) == {
        "process-inbox",
        "process-scan",
        "retry-scan",
        "release-scan",
        "ingest-scan",
        "segment-scan",
        "segment-dataset",
        "estimate-zscore",
        "prepare-training-data",
        "train-model",
        "prune-work",
        *(f"{name}-gpu" for name in ("process-scan", "segment-scan", "segment-dataset", "train-model")),
    }
    assert DEPLOYMENTS["process-inbox"].parameters["prefix"] == "s3://bucket/x"
    assert not any(deployment.schedules for deployment in DEPLOYMENTS.values()), "the watcher looks"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_defaults_fit_and_every_field_is_explained(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    flow = flow_of(deployment)
    schema = flow.parameters.model_dump()
    assert flow.name == name.removesuffix("-gpu")
    assert at_work in flow.on_running_hooks  # else a run whose process is killed would be shown as running for ever
    assert len(flow.description) > 40
    assert set(schema["required"]) <= set(deployment.parameters)
    flow.validate_parameters(deployment.parameters)
    models = {"parameters": schema, **schema["definitions"]}
    bare = [
        f"{m}.{field}"
        for m, about in models.items()
        for field, p in about["properties"].items()
        if not p.get("description")
    ]
    assert not bare


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_work_goes_where_a_queue_is(name: str) -> None:
    place = DEPLOYMENTS[name].work_pool
    assert place.work_queue_name in read_file("x").definitions.work_pools[place.name].queues


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments: [", "cannot be read"),
        (
            "name: x\ndefinitions: {work_pools: {}}\ndeployments: [{name: a}]",
            "deployments.0.entrypoint is missing; add it",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_file("s3://x", file)


def test_a_store_is_text_whatever_is_in_it() -> None:
    store = '/data/a "b" {{ $X }}'
    assert read_file(store).deployments[0].parameters["prefix"] == store


@pytest.mark.usefixtures("server")
def test_what_cannot_run_here_is_left_out() -> None:
    content = read_file("s3://scans")
    training = DEPLOYMENTS["train-model"]
    assert training.needs == "nnunetv2"
    nowhere = training.model_copy(update={"needs": "no_such_module"})
    pools = content.definitions.model_copy(update={"work_pools": {}})
    content = content.model_copy(update={"deployments": [nowhere], "definitions": pools})
    assert bootstrap(content) == ["deployment train-model: left out, no_such_module is not installed"]


def created_from(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(file)],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("server")
def test_the_automations_are_ready_to_be_used(tmp_path: Path) -> None:
    folder = Path(deployments.__file__).parent
    created_from(folder / "scan_failed.yaml")
    # Sooner, so that nobody has to wait.
    soon = tmp_path / "zombies.yaml"
    soon.write_text((folder / "zombies.yaml").read_text().replace("within: 90", "within: 10"))
    assert "within: 10" in soon.read_text()
    created_from(soon)
    with get_client(sync_client=True) as client:
        client.hello()
        found = {each["name"]: each for each in client._client.post("/automations/filter", json={}).json()}
        assert {"a scan failed", "a scan is held", "a scan waits", "a run without a sign of life"} <= found.keys()
        assert all(each["enabled"] for each in found.values())
        run = client.create_flow_run(prune_work, parameters={"output": "/nowhere"}, state=Running())
        resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
        emit_event("prefect.flow-run.heartbeat", resource=resource)
        emit_event("scan.failed", resource={"prefect.resource.id": "ps3d.scan.x"}, payload={"scan": "x", "reason": "y"})
        EventsWorker.drain_all(timeout=30)
        give_up = time.monotonic() + 120
        while client.read_flow_run(run.id).state_name != "Crashed" and time.monotonic() < give_up:
            time.sleep(1)
        assert client.read_flow_run(run.id).state_name == "Crashed"
        wanted = {"filter": {"event": {"name": ["prefect.automation.triggered"]}}}
        events = client._client.post("/events/filter", json=wanted).json()["events"]
        assert {event["resource"]["prefect.resource.name"] for event in events} >= {"a scan failed"}
