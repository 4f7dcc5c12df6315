"""Events that long work emits, and the listeners that show them.

Core code says what happened (`progress.stage(...)`, `stage.advance(n)`); a terminal bar, a log or a dashboard
listens. Core never prints. Events may arrive from several threads; `Progress` hands them on one at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; `total` units of work of which `already` were found finished from an earlier run."""

    stage: str
    total: int
    unit: str
    already: int = 0


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """`amount` more units are done, `done` in all."""

    stage: str
    amount: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended without error after `seconds` of wall time."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Noted:
    """A fact worth showing a person: the plan, a warning about the input, a place where a result lies."""

    text: str
    values: Mapping[str, object] = field(default_factory=dict)


Event = StageStarted | StageAdvanced | StageFinished | Noted
Listener = Callable[[Event], None]


class Stage:
    """Handle of a running stage; `advance` may be called from any thread."""

    def __init__(self, progress: Progress, name: str, total: int, already: int) -> None:
        self._progress = progress
        self._name = name
        self._total = total
        self._done = already
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        """Report `amount` more finished units."""
        with self._lock:
            self._done += amount
            self._progress.emit(StageAdvanced(self._name, amount, self._done, self._total))


class Progress:
    """Fan-out of events to listeners."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Hand one event to every listener."""
        with self._lock:
            for listener in self._listeners:
                listener(event)

    def note(self, text: str, **values: object) -> None:
        """Emit a `Noted` event."""
        self.emit(Noted(text, values))

    @contextmanager
    def stage(self, name: str, total: int, unit: str, already: int = 0) -> Iterator[Stage]:
        """Hold a stage open while the body runs: emit its start and, unless an error passes through, its end."""
        started = time.perf_counter()
        self.emit(StageStarted(name, total, unit, already))
        yield Stage(self, name, total, already)
        self.emit(StageFinished(name, time.perf_counter() - started))


SILENT = Progress()
