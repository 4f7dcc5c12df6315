"""Runs whose process is gone continue: they are scheduled again, and the ledger lets them go on where they stopped.

A worker that is killed cannot tell the server what became of its runs, and they would be shown as running for ever.
Here the server, the workers and the processes of the runs share one machine, so the process table knows. The runs
below such a run ended with its process; it starts others in their place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectException
from prefect.states import Cancelled, Crashed, Scheduled

POOLS = ("cpu", "gpu")
logger = logging.getLogger("ps3d")

_BEGUN = (StateType.RUNNING, StateType.CANCELLING)
_UNFINISHED = (*_BEGUN, StateType.PENDING)
_CONTINUES = "the process of this run ended before the run did; it continues where it stopped"
_REPLACED = "the process of this run ended before the run did; its work goes on in another one"


def continue_dead_runs(*, no_worker_lives: bool = False) -> list[str]:
    """Schedule the runs of our pools again whose process is gone; return their names.

    With `no_worker_lives` also those that were about to start, which a living worker would start by itself.
    A server that does not answer is left for the next time.
    """
    try:
        with get_client(sync_client=True) as client:
            runs = _runs(client, _UNFINISHED if no_worker_lives else _BEGUN)
            dead = [run for run in runs if no_worker_lives or not _lives(run)]
            for run in dead:
                _end_runs_below(client, run)
                if run.state_type == StateType.CANCELLING:
                    client.set_flow_run_state(run.id, Cancelled(message="its process ended"), force=True)
                else:
                    client.set_flow_run_state(run.id, Scheduled(message=_CONTINUES), force=True)
            return [run.name for run in dead]
    except (PrefectException, OSError) as error:
        logger.warning("runs are not looked at: %s", error)
        return []


def _runs(client: SyncPrefectClient, states: Sequence[StateType]) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(POOLS))),
    )


def _end_runs_below(client: SyncPrefectClient, run: FlowRun) -> None:
    below = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNFINISHED))),
    )
    for child in client.read_flow_runs(flow_run_filter=below):
        _end_runs_below(client, child)
        client.set_flow_run_state(child.id, Crashed(message=_REPLACED), force=True)


def _lives(run: FlowRun) -> bool:
    pid = run.infrastructure_pid
    if not pid or not pid.isdecimal():
        return True  # just being started
    try:
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The number may belong to another process by now, which is younger than the run.
        return run.start_time is None or process.create_time() <= run.start_time.timestamp() + 1
    except psutil.NoSuchProcess:
        return False
