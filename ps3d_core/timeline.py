"""What a process did when: activities of all its threads, noted on request, which shows what overlaps and what waits.

While nobody records, noting costs a look at one name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple


class Activity(NamedTuple):
    """One activity: what it was, and when it began and ended, in seconds since the recording began."""

    name: str
    begin: float
    end: float


class Timeline:
    """Activities in the order in which they ended."""

    def __init__(self) -> None:
        self.activities: list[Activity] = []
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._adding = threading.Lock()

    def add(self, name: str, begin: float, end: float) -> None:
        """Add an activity; `begin` and `end` are values of `time.perf_counter`."""
        with self._adding:
            self.activities.append(Activity(name, begin - self._started, end - self._started))
            self.seconds = max(self.seconds, end - self._started)


_recording: Timeline | None = None


@contextmanager
def recorded() -> Iterator[Timeline]:
    """Record what all threads of this process do while the body runs."""
    global _recording  # noqa: PLW0603 - threads that were started before have to see it
    timeline = _recording = Timeline()
    try:
        yield timeline
    finally:
        _recording = None


@contextmanager
def activity(name: str) -> Iterator[None]:
    """Note the body as an activity, if anybody records."""
    if (timeline := _recording) is None:
        yield
        return
    begin = time.perf_counter()
    try:
        yield
    finally:
        timeline.add(name, begin, time.perf_counter())


def busy_share(activities: Sequence[Activity], begin: float, end: float) -> float:
    """Return the share of the time from `begin` to `end` in which at least one of the `activities` goes on."""
    busy, reached = 0.0, begin
    for each in sorted(activities, key=lambda a: a.begin):
        start, stop = max(each.begin, reached), min(each.end, end)
        if stop > start:
            busy, reached = busy + stop - start, stop
    return busy / (end - begin) if end > begin else 0.0


def timeline_text(timeline: Timeline, columns: int = 80) -> str:
    """Return a picture in text, a line for each name.

    A column is blank where it rests, "." or "+" where it goes on for less or more than half of the time, "#" where for
    all of it; the share of the whole time in which it goes on stands behind.
    """
    lines = []
    names = list(dict.fromkeys(each.name for each in timeline.activities))
    step = timeline.seconds / columns
    for name in names:
        own = [each for each in timeline.activities if each.name == name]
        shares = [busy_share(own, column * step, (column + 1) * step) for column in range(columns)]
        marks = "".join(" .+#"[sum(share >= limit for limit in (0.05, 0.5, 0.95))] for share in shares)
        lines.append(f"{name:12}|{marks}| {100 * busy_share(own, 0, timeline.seconds):3.0f} %")
    return "\n".join(lines)
