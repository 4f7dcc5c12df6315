"""Tasks try again when that can help, and only then."""

from __future__ import annotations

import errno
from itertools import count
from types import SimpleNamespace

import pytest
from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE

from ps3d_app.tasks import prepare_training, prune, segment, train, zscore
from ps3d_app.tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition
from ps3d_core.errors import (
    AccessDeniedError,
    CorruptDataError,
    InputError,
    MissingDataError,
    NoSpaceError,
    StoreError,
)
from ps3d_core.network.bundle import load_bundle
from ps3d_core.params import MeasureParams
from ps3d_core.pipeline import steps_of
from ps3d_core.store.faults import is_transient

PASSING = [
    StoreError("503"),
    TimeoutError("slow"),
    ConnectionResetError("reset"),
    OSError(errno.EHOSTUNREACH, "unreachable"),
    OSError(errno.EIO, "input/output error"),
]
LASTING = [
    InputError("spacing -1: must be above 0"),
    MissingDataError("chunk"),
    CorruptDataError("checksum"),
    AccessDeniedError("keys"),
    NoSpaceError("disk"),
    FileNotFoundError(errno.ENOENT, "no such file"),
    PermissionError(errno.EACCES, "denied"),
    OSError(errno.ENOSPC, "disk full"),
    ValueError("a bug"),
    KeyboardInterrupt(),
]


def test_which_errors_pass_by_themselves() -> None:
    assert [error for error in PASSING if not is_transient(error)] == []
    assert [error for error in LASTING if is_transient(error)] == []
    assert not is_transient(None)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("error", "calls"), [(StoreError("503"), RETRIES + 1), (InputError("never"), 1)])
def test_prefect_asks(error: Exception, calls: int) -> None:
    counter = count(1)
    called = 0

    @task(cache_policy=NO_CACHE, retries=RETRIES, retry_delay_seconds=0, retry_condition_fn=retry_condition)
    def work() -> None:
        nonlocal called
        called = next(counter)
        raise error

    @flow
    def run() -> None:
        work()

    with pytest.raises(type(error)):
        run()
    assert called == calls


def test_every_task_retries_alike_and_caches_nothing() -> None:
    modules = (segment, prepare_training, prune, train, zscore)
    tasks = [value for module in modules for value in vars(module).values() if isinstance(value, Task)]
    measured = SimpleNamespace(measure=MeasureParams())
    job = SimpleNamespace(params=measured, result=None)  # titles do without the rest of it
    plan = SimpleNamespace(bundle=load_bundle(), job=job)
    tasks += [segment.task_of(step) for step in steps_of(plan).steps]
    assert len(tasks) == 26
    for stage in tasks:
        assert stage.retries == RETRIES == len(RETRY_DELAYS_SECONDS)
        assert stage.retry_delay_seconds == RETRY_DELAYS_SECONDS
        assert stage.retry_condition_fn is retry_condition
        assert stage.cache_policy == NO_CACHE
