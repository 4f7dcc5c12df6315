"""States that are true: no run is shown as running, pending or cancelling that no process works on.

A process that is killed cannot tell the server what became of its runs, of the runs below them and of their tasks.
Whether it lives is told by `flows.service.at_work`; what is nobody's here is left alone, since another machine may work
on it. Runs of a worker are scheduled again, and the ledger lets them go on where they stopped; a command's own runs
crashed. The runs and tasks below a run ended with its process; a run that continues starts others in their place.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

from ps3d_app.flows.service import at_work
from ps3d_app.flows.service.prefect_api import NoAnswerError, NotThereError, PrefectApi

UNFINISHED: Final = ("RUNNING", "PENDING", "CANCELLING")
FINAL: Final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
OF_TASKS: Final = (*UNFINISHED, "SCHEDULED", "PAUSED")
"""What a task may be in while its run goes on; a run that has ended tries no task again."""

LATE_NEWS: Final = timedelta(seconds=60)
"""How long a run may have ended before the server knows how its last tasks did."""
PENDING_AT_MOST: Final = timedelta(minutes=10)
"""A process that takes longer to begin with its run will not."""

_CONTINUES: Final = "the process of this run ended before the run did; it continues where it stopped"
_ENDED: Final = "the process of this run ended before the run did"
_NOT_HEARD: Final = {
    "type": "COMPLETED",
    "name": "Completed",
    "message": "the run of this task completed; when the task did, the server was not there to hear of it",
}
Run = Mapping[str, Any]


class Workers(Enum):
    """State of the workers of this machine, as far as it is known."""

    LIVE = "they see by themselves when the process of a run ends"
    ENDED = "one of them was killed, and what it worked on"
    NONE = "there is none: what waits to be begun by one is scheduled again"


def settle(api: PrefectApi, workers: Workers = Workers.LIVE) -> list[str]:
    """End or continue everything whose process is gone; return the names of the runs that continue.

    `workers` are those of this machine. Raise `NoAnswerError` when the server does not answer; what is not done then,
    the next time does.
    """
    runs = list(api.all("/flow_runs/filter", {"flow_runs": _in_state(UNFINISHED)}))
    dead = [run for run in runs if not _is_below(run) and _is_dead(api, run, workers)]
    continued = [run["name"] for run in dead if _end_or_continue(api, run)]
    for run in runs:
        if _is_below(run) and _has_ended(api, _above(api, run), workers):
            _end_below(api, run)
            _set_state(api, "flow_runs", run, _final(run))
    unfinished = {run["id"] for run in runs}
    for run_id in at_work.left_behind(api.url):
        if run_id not in unfinished:  # it had told how it ended, or its worker did
            at_work.forget(run_id)
    _end_tasks_of_the_past(api, workers)
    return continued


def settle_left_behind(api: PrefectApi) -> None:
    """Settle when a process of this machine left a run behind; ask nothing when none did.

    For a command, which has other things to do: a server that does not answer is left for the next one.
    """
    if at_work.left_behind(api.url):
        with suppress(NoAnswerError):
            settle(api)


def _is_below(run: Run) -> bool:
    """Whether the run is worked on by the process of another one."""
    return bool(run["parent_task_run_id"]) and not run["work_pool_name"]


def _is_dead(api: PrefectApi, run: Run, workers: Workers) -> bool:
    pool = run["work_pool_name"]
    lives = at_work.lives(run["id"])
    if lives is None and run["state_type"] == "PENDING" and _age(run) > PENDING_AT_MOST:
        return True
    if pool and workers is Workers.LIVE:
        return False  # the worker will say so
    if lives is not None:
        return not lives
    return bool(pool) and workers is Workers.NONE and not _elsewhere(api, pool)


def _elsewhere(api: PrefectApi, pool: str) -> bool:
    """Whether another machine has workers for the pool."""
    workers = api.post(f"/work_pools/{quote(pool)}/workers/filter", {})
    here = f"@{socket.gethostname()}"
    return any(worker["status"] == "ONLINE" and not worker["name"].endswith(here) for worker in workers)


def _end_or_continue(api: PrefectApi, run: Run) -> bool:
    """Give the dead run its next state, after those below it; return whether it continues."""
    _end_below(api, run)
    continues = bool(run["work_pool_name"]) and run["state_type"] != "CANCELLING"
    state = {"type": "SCHEDULED", "name": "Scheduled", "message": _CONTINUES} if continues else _final(run)
    _set_state(api, "flow_runs", run, state)
    at_work.forget(run["id"])
    return continues


def _end_below(api: PrefectApi, run: Run) -> None:
    below = {"flow_runs": _in_state(UNFINISHED) | {"parent_flow_run_id": {"any_": [run["id"]]}}}
    for child in list(api.all("/flow_runs/filter", below)):
        if not child["work_pool_name"]:  # it has a process of its own otherwise
            _end_below(api, child)
            _set_state(api, "flow_runs", child, _final(child))
    tasks = {"flow_runs": {"id": {"any_": [run["id"]]}}, "task_runs": _in_state(OF_TASKS)}
    for task in list(api.all("/task_runs/filter", tasks)):
        _set_state(api, "task_runs", task, _final(task))


def _above(api: PrefectApi, run: Run) -> Run | None:
    """The run that `run` is below; None when the server was killed before it knew."""
    try:
        task = api.get(f"/task_runs/{run['parent_task_run_id']}")
        above: Run = api.get(f"/flow_runs/{task['flow_run_id']}")
    except NotThereError:
        return None
    return above


def _has_ended(api: PrefectApi, run: Run | None, workers: Workers) -> bool:
    """Whether nobody works on what is below `run` any more."""
    if run is None:
        return workers is Workers.NONE
    if _is_below(run) and run["state_type"] not in FINAL:
        return _has_ended(api, _above(api, run), workers)
    return run["state_type"] in (*FINAL, "SCHEDULED")


def _end_tasks_of_the_past(api: PrefectApi, workers: Workers) -> None:
    """Tasks of runs that have ended: the news of their end was lost, with their process or with the server's."""
    until = datetime.now(UTC) - (LATE_NEWS if workers is Workers.LIVE else timedelta())
    for states in (("COMPLETED",), ("FAILED", "CANCELLED", "CRASHED")):
        ended = _in_state(states) | {"end_time": {"before_": until.isoformat()}}
        for task in list(api.all("/task_runs/filter", {"flow_runs": ended, "task_runs": _in_state(OF_TASKS)})):
            _set_state(api, "task_runs", task, _NOT_HEARD if "COMPLETED" in states else _final(task))


def _in_state(types: Sequence[str]) -> dict[str, Any]:
    return {"state": {"type": {"any_": list(types)}}}


def _final(run: Run) -> dict[str, Any]:
    if run["state_type"] == "CANCELLING":
        return {"type": "CANCELLED", "name": "Cancelled", "message": _ENDED}
    return {"type": "CRASHED", "name": "Crashed", "message": _ENDED}


def _set_state(api: PrefectApi, kind: str, run: Run, state: Mapping[str, Any]) -> None:
    api.post(f"/{kind}/{run['id']}/set_state", {"state": dict(state), "force": True})


def _age(run: Run) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(run["state"]["timestamp"])
