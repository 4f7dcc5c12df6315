"""Progress on the terminal: a listener to the events of ps3d_core.

On a terminal, a bar with rate and remaining time for every running stage, and a line for every finished one. Anywhere
else (a log, a pipe) plain lines, a few per stage. Everything goes to stderr; stdout is for results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ps3d_core.progress import Event, Noted, Progress, StageAdvanced, StageFinished, StageStarted

# A plain line needs both: time that passed, and progress worth telling (half a percent a minute is not).
LINE_EVERY_SECONDS = 15.0
LINE_EVERY_SHARE = 0.02
NAME_WIDTH = 24


@contextmanager
def shown() -> Iterator[Progress]:
    """Yield a `Progress` that a person sees while the body runs: bars on a terminal, plain lines anywhere else."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield Progress(PlainLines(console))
        return
    with _bars(console) as bars:
        yield Progress(LiveBars(bars))


class LiveBars:
    """Bars for running stages, lines above them for everything that has happened."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._running: dict[str, tuple[TaskID, StageStarted]] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case StageStarted():
                if event.stage in self._running:  # a task that was tried again
                    self._bars.remove_task(self._running[event.stage][0])
                task = self._bars.add_task(
                    event.stage.ljust(NAME_WIDTH), total=event.total, completed=event.already, unit=event.unit
                )
                self._running[event.stage] = task, event
            case StageAdvanced():
                task, _ = self._running[event.stage]
                self._bars.update(task, completed=event.done)
            case StageFinished():
                task, start = self._running.pop(event.stage)
                self._bars.remove_task(task)
                self._bars.console.print(Text(finished_line(start, event.seconds)))
            case Noted():
                self._bars.console.print(Text(event.text))


class PlainLines:
    """A line when a stage starts and ends, and one now and then in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: dict[str, StageStarted] = {}
        self._last_line: dict[str, tuple[float, int]] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case StageStarted():
                self._running[event.stage] = event
                self._last_line[event.stage] = time.monotonic(), event.already
            case StageAdvanced():
                now = time.monotonic()
                then, done = self._last_line[event.stage]
                if now - then >= LINE_EVERY_SECONDS and event.done - done >= LINE_EVERY_SHARE * event.total:
                    self._last_line[event.stage] = now, event.done
                    unit = self._running[event.stage].unit
                    self._say(f"{event.stage.ljust(NAME_WIDTH)} {event.done} of {event.total} {unit}")
            case StageFinished():
                self._say(finished_line(self._running.pop(event.stage), event.seconds))
            case Noted():
                self._say(event.text)

    def _say(self, line: str) -> None:
        with suppress(OSError):  # a full disk or a closed terminal: the work goes on without words
            self._console.print(Text(line))


def finished_line(start: StageStarted, seconds: float) -> str:
    """Return a line that says what a stage did in how much time."""
    if start.total == 1 and not start.already:
        return f"{start.stage.ljust(NAME_WIDTH)} {duration(seconds)}"
    new = start.total - start.already
    kept = f" ({start.already} kept from an earlier run)" if start.already else ""
    rate = f", {_rounded(new / seconds)} {start.unit}/s" if seconds > 0.05 and new > 1 else ""
    return f"{start.stage.ljust(NAME_WIDTH)} {new} {start.unit} in {duration(seconds)}{rate}{kept}"


def duration(seconds: float) -> str:
    """Return a time in seconds as text for a person: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _rounded(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


class _Rate(ProgressColumn):
    """Units per second since this run began with them."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{_rounded(speed)} {task.fields['unit']}/s", style="progress.data.speed")


@contextmanager
def _bars(console: Console) -> Iterator[Bars]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    # The estimate looks back two minutes: blocks differ in cost, and the first patches are slow.
    with Bars(*columns, console=console, transient=True, speed_estimate_period=120) as bars:
        yield bars
