"""Bring deployments/prefect.yaml to a Prefect server, any number of times.

`python -P -m ps3d_app.flows.service.stack.bootstrap [--store STORE] [--reset]` does it for the server in
PREFECT_API_URL. A deployment is written when it is missing or was made from another definition, which its version
tells: writing it again would throw away and make anew all runs that are scheduled, and what an operator changed in the
UI. Pools and queues belong to the operator as soon as they exist.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ps3d_app.flows.options import of_command
from ps3d_app.flows.service.local_server import configured_api, configured_url
from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.store.ledger import fingerprint
from ps3d_core.version import __version__

if TYPE_CHECKING:
    from prefect import Flow

STORE_VARIABLE = "PS3D_STORE"
DEFAULT_STORE = "s3://scans"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Queue(_Entry):
    """A work queue of a pool."""

    description: str
    priority: int = Field(ge=1)
    concurrency_limit: int | None = Field(default=None, ge=1)


class Pool(_Entry):
    """A work pool."""

    type: Literal["process"]
    description: str
    concurrency_limit: int | None = Field(default=None, ge=1)
    queues: dict[str, Queue]


class PlaceOfWork(_Entry):
    """Work pool and queue that take the runs of a deployment."""

    name: str
    work_queue_name: str


class Schedule(_Entry):
    """Times at which a deployment runs by itself; one of `interval` and `cron`."""

    slug: str
    interval: float | None = Field(default=None, ge=1, description="seconds")
    cron: str | None = None
    active: bool = True


class ConcurrencyLimit(_Entry):
    """Number of runs of a deployment that there may be at a time."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


class Deployment(_Entry):
    """A flow with a place to run, default parameters and perhaps a schedule."""

    name: str
    entrypoint: str
    description: str = ""
    """What is to be said besides the flow's own description."""
    needs: str | None = None
    """A Python module that it cannot run without and that is not always installed."""
    tags: list[str] = []
    work_pool: PlaceOfWork
    parameters: dict[str, Any] = {}
    schedules: list[Schedule] = []
    concurrency_limit: ConcurrencyLimit | None = None


class _Definitions(_Entry):
    work_pools: dict[str, Pool]


class PrefectFile(_Entry):
    """Content of prefect.yaml."""

    name: str
    definitions: _Definitions
    deployments: list[Deployment]


def read_file(store: str, path: Path | None = None) -> PrefectFile:
    """Return the content of prefect.yaml (default: ours) with `store` put in.

    Raise `InputError`, which says what is wrong in the file, when it cannot be used.
    """
    source = Path(str(files("ps3d_app.deployments"))) / "prefect.yaml" if path is None else path
    try:
        content = yaml.safe_load(source.read_text("utf-8"))
        return PrefectFile.model_validate(_with_store(content, store))
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from error
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{source}: cannot be read ({' '.join(str(error).split())}); mend the file") from error


def bootstrap(content: PrefectFile, *, reset: bool = False) -> list[str]:
    """Make the pools, queues and deployments that the server lacks; return a line for everything that was written."""
    written = []
    with get_client(sync_client=True) as client:
        for name, pool in content.definitions.work_pools.items():
            written += _ensure_pool(client, name, pool, reset=reset)
        for deployment in content.deployments:
            if deployment.needs and find_spec(deployment.needs) is None:
                written.append(f"deployment {deployment.name}: left out, {deployment.needs} is not installed")
            else:
                written += _ensure_deployment(client, deployment, reset=reset)
    return written


def _ensure_pool(client: SyncPrefectClient, name: str, pool: Pool, *, reset: bool) -> list[str]:
    written = []
    try:
        client.read_work_pool(name)
        if reset:
            update = WorkPoolUpdate(description=pool.description, concurrency_limit=pool.concurrency_limit)
            client.update_work_pool(name, update)
            written.append(f"work pool {name}: set back")
    except ObjectNotFound:
        create = WorkPoolCreate(
            name=name,
            type=pool.type,
            description=pool.description,
            concurrency_limit=pool.concurrency_limit,
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        client.create_work_pool(create)
        written.append(f"work pool {name}")
    known = {queue.name: queue for queue in client.read_work_queues(work_pool_name=name)}
    for queue_name, queue in pool.queues.items():
        if queue_name not in known:
            client.create_work_queue(queue_name, work_pool_name=name, **queue.model_dump())
            written.append(f"work queue {name}/{queue_name}")
        elif reset:
            client.update_work_queue(known[queue_name].id, **queue.model_dump())
            written.append(f"work queue {name}/{queue_name}: set back")
    return written


def _ensure_deployment(client: SyncPrefectClient, deployment: Deployment, *, reset: bool) -> list[str]:
    flow = _load(deployment.entrypoint)
    schema = flow.parameters.model_dump(mode="json")
    version = f"{__version__}+{fingerprint(deployment.model_dump(), schema, flow.description)[:12]}"
    try:
        existing = client.read_deployment_by_name(f"{flow.name}/{deployment.name}")
        if existing.version == version and not reset:
            return []
    except ObjectNotFound:
        pass
    limit = deployment.concurrency_limit
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=deployment.name,
        version=version,
        entrypoint=deployment.entrypoint,
        description="\n\n".join(filter(None, (deployment.description, flow.description))),
        tags=["ps3d", *deployment.tags],
        parameters=deployment.parameters,
        parameter_openapi_schema=schema,
        enforce_parameter_schema=True,
        work_pool_name=deployment.work_pool.name,
        work_queue_name=deployment.work_pool.work_queue_name,
        schedules=[_schedule(schedule) for schedule in deployment.schedules],
        concurrency_limit=limit.limit if limit else None,
        concurrency_options=ConcurrencyOptions.model_validate({"collision_strategy": limit.collision_strategy})
        if limit
        else None,
        path=None,
        paused=False,
    )
    return [f"deployment {deployment.name}"]


def _load(entrypoint: str) -> Flow[..., Any]:
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except ImportError as error:
        raise InputError(f"{entrypoint}: cannot be imported ({error}); correct the entrypoint") from error


def _schedule(schedule: Schedule) -> DeploymentScheduleCreate:
    if (schedule.interval is None) == (schedule.cron is None):
        raise InputError(f"schedule {schedule.slug}: has neither an interval nor a cron line, or both; give one")
    when: dict[str, Any] = {"slug": schedule.slug, "active": schedule.active}
    if schedule.cron is not None:
        return DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron), **when)
    return DeploymentScheduleCreate(schedule=IntervalSchedule.model_validate({"interval": schedule.interval}), **when)


def _with_store(content: Any, store: str) -> Any:
    """`content` with every {{ $PS3D_STORE }} replaced; text is put in as a value and never parsed as YAML."""
    text = json.dumps(content).replace("{{ $" + STORE_VARIABLE + " }}", json.dumps(store.rstrip("/"))[1:-1])
    return json.loads(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Register everything in prefect.yaml with the server in PREFECT_API_URL; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -P -m ps3d_app.flows.service.stack.bootstrap", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--store", default=os.environ.get(STORE_VARIABLE, DEFAULT_STORE), help="folder or URL")
    parser.add_argument("--file", type=Path, help="another prefect.yaml")
    parser.add_argument("--reset", action="store_true", help="undo what was changed in the UI")
    args = parser.parse_args(arguments)
    try:
        content = read_file(args.store, args.file)
        if (url := configured_url()) is None:
            raise InputError("PREFECT_API_URL is not set; set it to the API of your server, like http://host:4200/api")
        with configured_api(url):
            written = bootstrap(content, reset=args.reset)
    except InputError as error:
        print(f"bootstrap: error: {error.worded(of_command(parser).get)}", file=sys.stderr)
        return 2
    print("\n".join(written) or "nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
