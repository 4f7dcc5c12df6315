"""`ps3d status`: which Prefect API commands would use, and its latest runs."""

from __future__ import annotations

import argparse

PURPOSE = "show which Prefect API is used, and its latest runs"
EXAMPLES = "  ps3d status"

LATEST = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> None:
    """Print the state of things; starts nothing."""
    from flows.local_server import configured_url, running_url, server_folder

    configured, local = configured_url(), running_url()
    if configured:
        print(f"Prefect API   {configured} (configured)")
    elif local:
        print(f"Prefect API   {local} (local server, running)")
    else:
        print("Prefect API   none runs; ps3d segment starts a local server, ps3d up shows it")
    print(f"history       {server_folder()}")
    if url := configured or local:
        _print_runs(url)


def _print_runs(url: str) -> None:
    from flows.local_server import using

    with using(url):
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.sorting import FlowRunSort

        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=LATEST):
                started = run.start_time.astimezone().strftime("%Y-%m-%d %H:%M") if run.start_time else "not started"
                print(f"{started:<16}  {run.state_name or '':<10} {run.name}")
