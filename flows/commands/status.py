"""`ps3d status`: which Prefect API commands would use, the parts of the local stack, and the latest runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.stack.state import StackState

PURPOSE = "show the local stack, its workers and latest runs"
EXAMPLES = "  ps3d status"

LATEST = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> None:
    """Print the state of things; starts nothing."""
    from flows.local_server import configured_url, running_url, server_folder
    from flows.stack.state import running_stack

    configured, local = configured_url(), running_url()
    if configured:
        print(f"Prefect API   {configured} (configured)")
    elif local:
        print(f"Prefect API   {local} (local server, running)")
    else:
        print("Prefect API   none runs; ps3d segment starts a local server, ps3d up the whole stack")
    print(f"history       {server_folder()}")
    if (stack := running_stack()) is not None:
        _print_stack(stack)
    if url := configured or local:
        _print_server(url)


def _print_stack(stack: StackState) -> None:
    print(f"stack         process {stack.pid}, {'ready' if stack.ready else 'starting'}; store {stack.store}")
    if stack.s3 is not None:
        print(f"S3            {stack.s3}; keys in {stack.s3_environment}")
    for part in stack.parts:
        state = "running" if part.alive else "down"
        again = f", started again {part.restarts} times" if part.restarts else ""
        print(f"  {part.name:<13} {state}{again}; log {part.log}")


def _print_server(url: str) -> None:
    from flows.local_server import using

    with using(url):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            _print_workers(client)
            _print_schedules(client)
            _print_runs(client)


def _print_workers(client: SyncPrefectClient) -> None:
    for pool in client.read_work_pools():
        workers = client.read_workers_for_work_pool(pool.name)
        online = [worker.name for worker in workers if worker.status == "ONLINE"]
        paused = " (paused)" if pool.is_paused else ""
        print(f"pool {pool.name:<8} {', '.join(online) or 'no worker; its runs wait'}{paused}")


def _print_schedules(client: SyncPrefectClient) -> None:
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            when = getattr(schedule.schedule, "cron", None) or f"every {getattr(schedule.schedule, 'interval', '?')}"
            off = "" if schedule.active and not deployment.paused else " (paused)"
            print(f"schedule      {deployment.name} {when}{off}")


def _print_runs(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
    from prefect.client.schemas.sorting import FlowRunSort

    begun = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(not_any_=[*_WAITS, *_NOT_SHOWN])))
    waiting = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=_WAITS)))
    if late := client.read_flow_runs(flow_run_filter=waiting):
        print(f"waiting       {len(late)} runs, the first of them {late[0].name}")
    for run in client.read_flow_runs(flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=LATEST):
        started = run.start_time.astimezone().strftime("%Y-%m-%d %H:%M") if run.start_time else "not started"
        print(f"{started:<16}  {run.state_name or '':<10} {run.name}")


_WAITS = ["Late", "AwaitingRetry", "AwaitingConcurrencySlot"]
# Polls of the inbox that found nothing, and those that fell into a long one, which are cancelled.
_NOT_SHOWN = ["Scheduled", "Idle", "Cancelled"]
