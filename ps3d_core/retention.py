"""Intermediates that nobody needs any more: the work folders of results that are finished or were given up.

A finished run removes its work folder by itself, unless it was told to keep it; a run that failed leaves it, so that
the same command can go on. Neither is ever taken away from a run that lives: whoever removes holds the lease of the
result meanwhile, as a run does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.params import RetentionParams
from ps3d_core.record import read_record
from ps3d_core.store.layout import Result, is_usable
from ps3d_core.store.lease import is_held, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import work_is_own

DAY_SECONDS = 86400.0

State = Literal["finished", "abandoned", "running"]


class Leftover(BaseModel):
    """The work folder of one result."""

    model_config = ConfigDict(frozen=True)

    output: str
    scan: str
    state: State
    """finished: its result has a record of a whole run; abandoned: none, or a damaged one; running: it is at work."""
    files: int
    bytes: int
    age_days: float
    """Since its last file was written."""
    expired: bool
    """Whether it may go: not running, and old enough."""

    @property
    def result(self) -> Result:
        """Result that the work folder belongs to."""
        return Result(Location.parse(self.output), self.scan)


def find_leftovers(output: Location, params: RetentionParams | None = None) -> Iterator[Leftover]:
    """Yield every work folder below the folder of results `output`, one scan after another; remove nothing."""
    params = params or RetentionParams()
    for scan in output.children():
        if not is_usable(scan):
            continue  # no result of ours
        result = Result(output, scan)
        files = result.work.find()
        if not files or not work_is_own(result.work):
            continue
        age = max(0.0, time.time() - max(_written(info) for info in files.values())) / DAY_SECONDS
        state = _state(result)
        yield Leftover(
            output=str(output),
            scan=scan,
            state=state,
            files=len(files),
            bytes=sum(int(info["size"]) for info in files.values()),
            age_days=round(age, 3),
            expired=state != "running" and age >= params.older_than_days and (state in params.states),
        )


def remove_leftover(leftover: Leftover) -> int:
    """Remove an expired work folder; return the bytes freed, 0 for one that may not go.

    Raise `InputError` when a run has begun to work on that result meanwhile.
    """
    if not leftover.expired:
        return 0
    with sole_run(leftover.result.lease, f"scan {leftover.scan}"):
        leftover.result.remove_work()
    return leftover.bytes


def _state(result: Result) -> State:
    if is_held(result.lease):
        return "running"
    try:
        return "abandoned" if read_record(result.run) is None else "finished"
    except (InputError, MissingDataError):  # damaged, or withdrawn by a run that begins just now
        return "abandoned"


def _written(info: Mapping[str, Any]) -> float:
    """When the store says that a file was written, seconds since 1970; now, when it does not say."""
    for key in ("mtime", "LastModified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()
