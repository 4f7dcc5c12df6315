"""What a person sees of progress."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ps3d_app.flows.command import terminal
from ps3d_app.flows.command.terminal import LiveBars, PlainLines, duration, finished_line
from ps3d_core.progress import Progress, StageStarted


def plain(**options: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=100, highlight=False, soft_wrap=True, **options), text  # type: ignore[arg-type]


def work(progress: Progress) -> None:
    progress.note("the plan [not markup]")
    with progress.stage("predict", 10, "patches", already=4) as stage:
        for _ in range(6):
            stage.advance()


def test_plain_lines_say_what_was_done_and_what_was_kept() -> None:
    console, text = plain()
    work(Progress(PlainLines(console)))
    first, second = text.getvalue().splitlines()
    assert first == "the plan [not markup]"
    assert re.match(r"predict                  6 patches in \d+\.\d s", second)
    assert second.endswith("(4 kept from an earlier run)")


def test_long_stages_are_heard_of_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "LINE_EVERY_SECONDS", 0.0)
    console, text = plain()
    progress = Progress(PlainLines(console))
    with progress.stage("predict", 200, "patches") as stage:
        for _ in range(200):
            stage.advance()
    lines = text.getvalue().splitlines()
    assert lines[0] == "predict                  4 of 200 patches"
    assert len(lines) == 51


def test_bars_leave_one_line_per_stage() -> None:
    console, text = plain(force_terminal=True)
    with terminal._bars(console) as bars:
        work(Progress(LiveBars(bars)))
        assert not bars.tasks
    assert re.search(r"6 patches in \d+\.\d s", text.getvalue())
    assert "the plan [not markup]" in text.getvalue()


def test_a_stage_that_is_tried_again_has_one_bar() -> None:
    console, _ = plain(force_terminal=True)
    with terminal._bars(console) as bars:
        listener = LiveBars(bars)
        for _ in range(2):
            listener(StageStarted("predict", 10, "patches"))
        assert len(bars.tasks) == 1


def test_rates() -> None:
    assert finished_line(StageStarted("read", 100, "slices"), 50.0).endswith(" 100 slices in 50 s, 2 slices/s")
    assert finished_line(StageStarted("draw", 1, "pages"), 50.0).split("  ")[-1].strip() == "50 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
