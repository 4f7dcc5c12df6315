"""prefect.yaml: every deployment has a form that explains itself, and defaults that the form accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint

from flows.at_work import at_work
from flows.stack.bootstrap import Deployment, bootstrap, read_file
from ps3d_core.errors import InputError

DEPLOYMENTS = {deployment.name: deployment for deployment in read_file("s3://bucket/x/").deployments}


def flow_of(deployment: Deployment) -> Any:
    return load_flow_from_entrypoint(deployment.entrypoint, use_placeholder_flow=False)


def test_what_there_is() -> None:
    assert set(DEPLOYMENTS) == {
        "process-inbox",
        "ingest-scan",
        "segment-scan",
        "segment-dataset",
        "estimate-zscore",
        "prepare-training-data",
        "train-model",
        "prune-work",
        *(f"{name}-gpu" for name in ("segment-scan", "segment-dataset", "train-model")),
    }
    assert DEPLOYMENTS["process-inbox"].parameters["prefix"] == "s3://bucket/x"
    assert DEPLOYMENTS["process-inbox"].schedules


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
