"""Runs that nobody works on are ended, with all below them; those that somebody may work on are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Completed, Running

from ps3d_app.flows.service import at_work
from ps3d_app.flows.service.local_server import Api
from ps3d_app.flows.service.prefect_api import connect
from ps3d_app.flows.service.stack.recovery import Workers, settle, settle_left_behind


@flow
def thing() -> None:
    """Never run."""


@task
def step() -> None:
    """Never run."""


@pytest.fixture
def client(server: Api) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == server.url
        yield client


def make_run(client: SyncPrefectClient, state: State[None]) -> FlowRun:
    return client.create_flow_run(thing, state=state)


def make_task(client: SyncPrefectClient, run: FlowRun, key: str = "0") -> UUID:
    return client.create_task_run(step, run.id, key, state=Running()).id


def make_run_below(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    above = make_task(client, run, "below")
    return client.create_flow_run(thing, parent_task_run_id=above, state=Running())


def leave_behind(run: FlowRun, server: Api) -> None:
    at_work.hold(str(run.id), server.url).close()


def state_of(client: SyncPrefectClient, run: FlowRun) -> str | None:
    return client.read_flow_run(run.id).state_name


def test_what_a_killed_process_left_is_ended_and_nothing_else(client: SyncPrefectClient, server: Api) -> None:
    dead, cancelled, alive, elsewhere = (
        make_run(client, state) for state in (Running(), Cancelling(), Running(), Running())
    )
    of_dead, of_alive = make_task(client, dead), make_task(client, alive)
    below, below_alive = make_run_below(client, dead), make_run_below(client, alive)
    for run in (dead, cancelled):
        leave_behind(run, server)
    with at_work.hold(str(alive.id), server.url):
        assert settle(connect(server.url)) == []
        assert state_of(client, alive) == state_of(client, below_alive) == "Running"
        assert client.read_task_run(of_alive).state_name == "Running"
    assert state_of(client, dead) == state_of(client, below) == "Crashed"
    assert client.read_task_run(of_dead).state_name == "Crashed"
    assert state_of(client, cancelled) == "Cancelled"
    assert state_of(client, elsewhere) == "Running"  # as far as is known here
    assert at_work.left_behind(server.url) == [str(alive.id)]
    # The next command of this machine ends that one, too.
    settle_left_behind(connect(server.url))
    assert state_of(client, alive) == state_of(client, below_alive) == "Crashed"
    client.delete_flow_run(elsewhere.id)


def test_tasks_whose_end_the_server_did_not_hear_of(client: SyncPrefectClient, server: Api) -> None:
    run = make_run(client, Running())
    unheard = make_task(client, run)
    client.set_flow_run_state(run.id, Completed(), force=True)
    settle(connect(server.url))
    assert client.read_task_run(unheard).state_name == "Running"  # it may still hear
    settle(connect(server.url), Workers.NONE)
    assert client.read_task_run(unheard).state_name == "Completed"
