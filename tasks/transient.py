"""Which failures are worth another try: those of stores and networks that pass by themselves.

Short faults never get here, the store retries them itself. This is for the outage of minutes: the task runs again and
the ledger makes it go on where it stopped. Bad input, missing and damaged data, denied access and
a full disk fail the same way every time.
"""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from ps3d_core.store.faults import is_transient

RETRIES = 3
RETRY_DELAYS_SECONDS = [5.0, 30.0, 120.0]


def retry_condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a task that failed is worth another try: `is_transient` as Prefect asks it."""
    result = state.result(raise_on_failure=False)
    return isinstance(result, BaseException) and is_transient(result)
