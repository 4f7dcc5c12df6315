"""`ps3d status`: which Prefect API commands would use, whether the parts of the local stack do their work, and runs.

It is asked when something is wrong, so it waits for nothing: every part has seconds to answer, all at the same time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from ps3d_app.flows.service.prefect_api import PrefectApi
    from ps3d_app.flows.service.stack.checks import Check, Finding
    from ps3d_app.flows.service.stack.state import StackState

PURPOSE = "show whether the local stack is well, and the latest runs"
EXAMPLES = """\
  ps3d status
  ps3d status --json                for programs

Every part is asked for its service and has seconds to answer. Exit status: 0 when all parts are well, when they are
just starting, or when none runs; 1 when something is wrong, and the last line names the part and its log."""

LATEST = 10


@dataclass
class History:
    """Pools, schedules and runs known to the Prefect API in use; empty when it does not answer."""

    pools: list[dict[str, Any]] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    """Why it is not complete."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Print which Prefect API is in use, whether the parts of the stack are well, and runs; start nothing.

    Raise `Ps3dError` when a part is not well, unless the stack is still starting.
    """
    from ps3d_app.flows.service.local_server import configured_url, running_url
    from ps3d_app.flows.service.stack.checks import examine
    from ps3d_app.flows.service.stack.state import running_stack
    from ps3d_core.errors import Ps3dError

    configured, stack = configured_url(), running_stack()
    local = running_url() or (stack.api if stack is not None else None)
    history = History()
    *findings, read = examine([*_checks(configured, local, stack), _reading(configured or local, history)])
    history.problem = read.problem
    if args.json:
        print(json.dumps(_report(configured, local, stack, findings, history), indent=2))
    else:
        print("\n".join(_lines(configured, local, stack, findings, history)))
    wrong = [finding for finding in findings if finding.problem]
    if wrong and (stack is None or stack.ready):
        raise Ps3dError("; ".join(f"{f.part}: {f.problem}{f' (log: {f.log})' if f.log else ''}" for f in wrong))


def _checks(configured: str | None, local: str | None, stack: StackState | None) -> Iterator[Check]:
    from ps3d_app.flows.service.local_server import server_folder
    from ps3d_app.flows.service.prefect_api import connect
    from ps3d_app.flows.service.stack.checks import check_of_server, checks_of

    if configured is not None:
        yield check_of_server("Prefect API", connect(configured))
    if local is not None:
        yield check_of_server("Prefect server", connect(local), str(server_folder() / "server.log"), _pids_of_server())
    if stack is not None:
        yield from checks_of(stack, connect(stack.api))


def _reading(url: str | None, history: History) -> Check:
    """Return a check that reads into `history` what the API in use knows.

    It is asked like the parts: it may take long, and the answers of the others do not wait.
    """
    from ps3d_app.flows.service.prefect_api import connect
    from ps3d_app.flows.service.stack.checks import Check

    return Check("history", "", [], lambda: "" if url is None else _read(connect(url), history))


def _pids_of_server() -> list[int | None]:
    from ps3d_app.flows.service.local_server import server_folder

    try:
        return [int(json.loads((server_folder() / "server.json").read_text())["pid"])]
    except (OSError, ValueError, KeyError):
        return []  # it has not said so yet


def _read(api: PrefectApi, history: History) -> str:
    for pool in api.all("/work_pools/filter", {}):
        workers = api.post(f"/work_pools/{quote(pool['name'])}/workers/filter", {})
        online = [worker["name"] for worker in workers if worker["status"] == "ONLINE"]
        history.pools.append({"name": pool["name"], "workers": online, "paused": pool["is_paused"]})
    for deployment in api.all("/deployments/filter", {}):
        for schedule in deployment["schedules"]:
            active = schedule["active"] and not deployment["paused"]
            when = schedule["schedule"].get("cron") or f"every {schedule['schedule'].get('interval', '?')} s"
            history.schedules.append({"deployment": deployment["name"], "when": when, "active": active})
    history.waiting += map(_told, api.all("/flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": _WAITS}}}}))
    begun = {"state": {"name": {"not_any_": [*_WAITS, *_NOT_SHOWN]}}}
    latest = api.post("/flow_runs/filter", {"flow_runs": begun, "sort": "EXPECTED_START_TIME_DESC", "limit": LATEST})
    history.runs += map(_told, latest)
    return api.url


def _told(run: dict[str, Any]) -> dict[str, Any]:
    began = run["start_time"] or run["expected_start_time"]
    return {"id": run["id"], "name": run["name"], "state": run["state_name"], "began": began}


def _report(
    configured: str | None, local: str | None, stack: StackState | None, findings: list[Finding], history: History
) -> dict[str, Any]:
    wrong = any(finding.problem for finding in findings)
    return {
        "well": not wrong,
        "api": configured or local,
        "stack": None
        if stack is None
        else {"pid": stack.pid, "ready": stack.ready, "ui": stack.ui, "store": stack.store},
        "parts": [asdict(finding) for finding in findings],
        "history": asdict(history),
    }


def _lines(
    configured: str | None, local: str | None, stack: StackState | None, findings: list[Finding], history: History
) -> Iterator[str]:
    from ps3d_app.flows.service.local_server import server_folder

    if configured:
        yield f"Prefect API   {configured} (configured)"
    elif local:
        yield f"Prefect API   {local} (local server)"
    else:
        yield "Prefect API   none runs; ps3d segment starts a local server, ps3d up the whole stack"
    yield f"history       {server_folder()}"
    if stack is not None:
        yield f"stack         process {stack.pid}, {'ready' if stack.ready else 'starting'}; store {stack.store}"
        if stack.s3 is not None:
            yield f"S3            {stack.s3}; keys in {stack.s3_environment}"
    for finding in findings:
        state = f"NOT WELL: {finding.problem}" if finding.problem else f"well; {finding.detail}"
        again = f", started again {finding.restarts} times" if finding.restarts else ""
        yield f"  {finding.part:<14} {state}{again}{f'; log {finding.log}' if finding.log else ''}"
    yield from _lines_of(history)


def _lines_of(history: History) -> Iterator[str]:
    for pool in history.pools:
        paused = " (paused)" if pool["paused"] else ""
        yield f"pool {pool['name']:<8} {', '.join(pool['workers']) or 'no worker; its runs wait'}{paused}"
    for schedule in history.schedules:
        yield f"schedule      {schedule['deployment']} {schedule['when']}{'' if schedule['active'] else ' (paused)'}"
    if history.problem:
        yield f"runs          cannot be read: {history.problem}"
    if history.waiting:
        yield f"waiting       {len(history.waiting)} runs, the first of them {history.waiting[0]['name']}"
    for run in history.runs:
        began = datetime.fromisoformat(run["began"]).astimezone().strftime("%Y-%m-%d %H:%M")
        yield f"{began:<16}  {run['state']:<10} {run['name']}"


_WAITS = ["Late", "AwaitingRetry", "AwaitingConcurrencySlot"]
# Scheduled runs are still to come; looks into the inbox that found nothing are many.
_NOT_SHOWN = ["Scheduled", "Idle"]
