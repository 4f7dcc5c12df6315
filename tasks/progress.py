"""Progress of the core as Prefect shows it: a progress artifact per stage, notes in the run's log.

The core emits thousands of events; a server on SQLite takes a few writes per second. So an artifact is updated at
most every other second, and a stage that takes no longer gets none: a dozen of them would hide the results on the page
of the run. A server that fails does not fail the run: the display just stops.
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

from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped
from ps3d_core.progress import Event, Listener, Noted, Progress, StageAdvanced, StageFinished, StageStarted

UPDATE_EVERY_SECONDS = 2.0

_also: ContextVar[tuple[Listener, ...]] = ContextVar("_also", default=())


@contextmanager
def also_shown_to(listener: Listener) -> Iterator[None]:
    """Tell the progress of tasks that run in the body, in this process, to `listener` too."""
    token = _also.set((*_also.get(), listener))
    try:
        yield
    finally:
        _also.reset(token)


def run_progress(scan: str) -> Progress:
    """Return the progress for core functions called by the current task on behalf of a scan."""
    return Progress(_RunListener(scan), *_also.get())


class _RunListener:
    def __init__(self, scan: str) -> None:
        self._scan = scan
        self._logger = get_run_logger()
        # The core may speak from threads that know nothing of the current run.
        self._context = copy_context()
        self._running: dict[str, _Running] = {}
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
                self._running[event.stage] = _Running(event)
            case StageAdvanced():
                self._running[event.stage].advance(event, self._scan)
            case StageFinished():
                if (artifact := self._running.pop(event.stage).artifact) is not None:
                    update_progress_artifact(artifact, 100.0)
                self._logger.info("%s: done in %.1f s", event.stage, event.seconds)
            case Noted():
                self._logger.info("%s", event.text)


class _Running:
    """A stage that has begun, and its artifact once it has one."""

    def __init__(self, start: StageStarted) -> None:
        self._start = start
        self._next_update = time.monotonic() + UPDATE_EVERY_SECONDS
        self.artifact: UUID | None = None

    def advance(self, event: StageAdvanced, scan: str) -> None:
        """Show how far the stage has come, if it is time to."""
        if time.monotonic() < self._next_update:
            return
        done = 100.0 * event.done / max(event.total, 1)
        if self.artifact is None:
            self.artifact = _create(self._start, scan, done)
        else:
            update_progress_artifact(self.artifact, done)
        self._next_update = time.monotonic() + UPDATE_EVERY_SECONDS


def _create(start: StageStarted, scan: str, done: float) -> UUID:
    artifact = create_progress_artifact(
        done,
        key=artifact_key(scan, start.stage),
        description=f"{escaped(scan)}: {escaped(start.stage)}, {start.total} {start.unit}",
    )
    assert isinstance(artifact, UUID)  # noqa: S101  (a coroutine only in asynchronous code)
    return artifact
