"""Progress of the core as Prefect shows it: a progress artifact per stage, notes in the run's log.

The core emits thousands of events; a server on SQLite takes a few writes per second. So an artifact is updated at
most every other second. A server that fails does not fail the run: the display just stops.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from ps3d_core.progress import Event, Listener, Noted, Progress, StageAdvanced, StageFinished, StageStarted
from tasks.keys import artifact_key
from tasks.markdown import escaped

UPDATE_EVERY_SECONDS = 2.0

_also: ContextVar[tuple[Listener, ...]] = ContextVar("_also", default=())


@contextmanager
def also_shown_to(listener: Listener) -> Iterator[None]:
    """Tasks run inside, in this process, tell their progress to `listener` too."""
    token = _also.set((*_also.get(), listener))
    try:
        yield
    finally:
        _also.reset(token)


def run_progress(scan: str) -> Progress:
    """Progress for core functions called by the current task on behalf of a scan."""
    return Progress(_RunListener(scan), *_also.get())


class _RunListener:
    def __init__(self, scan: str) -> None:
        self._scan = scan
        self._logger = get_run_logger()
        # The core may speak from threads that know nothing of the current run.
        self._context = copy_context()
        self._artifacts: dict[str, UUID] = {}
        self._next_update: dict[str, float] = {}
        self._silent = False

    def __call__(self, event: Event) -> None:
        if self._silent:
            return
        try:
            self._context.run(self._show, event)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            self._silent = True
            self._logger.warning("progress is no longer shown: %s", error)

    def _show(self, event: Event) -> None:
        match event:
            case StageStarted():
                self._artifacts[event.stage] = _create(event, self._scan)
                self._next_update[event.stage] = time.monotonic() + UPDATE_EVERY_SECONDS
            case StageAdvanced():
                if time.monotonic() >= self._next_update[event.stage]:
                    update_progress_artifact(self._artifacts[event.stage], 100.0 * event.done / max(event.total, 1))
                    self._next_update[event.stage] = time.monotonic() + UPDATE_EVERY_SECONDS
            case StageFinished():
                update_progress_artifact(self._artifacts.pop(event.stage), 100.0)
                self._logger.info("%s: done in %.1f s", event.stage, event.seconds)
            case Noted():
                self._logger.info("%s", event.text)


def _create(event: StageStarted, scan: str) -> UUID:
    done = 100.0 * event.already / max(event.total, 1)
    artifact = create_progress_artifact(
        done,
        key=artifact_key(scan, event.stage),
        description=f"{escaped(scan)}: {escaped(event.stage)}, {event.total} {event.unit}",
    )
    assert isinstance(artifact, UUID)  # noqa: S101  (a coroutine only in asynchronous code)
    return artifact
