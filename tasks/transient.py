"""Which failures are worth another try: those of stores and networks that pass by themselves.

Short faults never get here, the store retries them itself. This is for the outage of minutes: the task runs again and
the ledger makes it go on where it stopped. Bad input, missing and damaged data, denied access and
a full disk fail the same way every time.
"""

from __future__ import annotations

import errno
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from ps3d_core.errors import AccessDeniedError, CorruptDataError, MissingDataError, NoSpaceError, StoreError

RETRIES = 3
RETRY_DELAYS_SECONDS = [5.0, 30.0, 120.0]

_LASTING = (MissingDataError, CorruptDataError, AccessDeniedError, NoSpaceError)
_PASSING = {
    errno.EAGAIN,
    errno.EIO,
    errno.EPIPE,
    errno.ESTALE,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.ETIMEDOUT,
}


def is_transient(error: BaseException | None) -> bool:
    """True when the same call may succeed later."""
    if error is None or isinstance(error, _LASTING):
        return False
    if isinstance(error, StoreError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def retry_condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """`is_transient` as Prefect asks it."""
    result = state.result(raise_on_failure=False)
    return isinstance(result, BaseException) and is_transient(result)
