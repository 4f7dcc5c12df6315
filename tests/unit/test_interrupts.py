"""Wherever an interrupt comes, what was begun is put away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from ps3d_core import interrupts
from ps3d_core.interrupts import interrupts_held
from ps3d_core.particles import pdf
from ps3d_core.training.nnunet import child

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Came(BaseException):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """All interrupts raise, and every test leaves the handlers as they were."""

    def raising(_number: int, _frame: FrameType | None) -> None:
        raise Came

    before = {number: signal.signal(number, raising) for number in NUMBERS}
    yield
    left = [number for number in NUMBERS if signal.getsignal(number) is not raising]
    for number, handler in before.items():
        signal.signal(number, handler)
    assert left == []


@pytest.mark.parametrize("number", NUMBERS)
def test_an_interrupt_waits_for_the_end_of_the_body(number: int) -> None:
    done = []

    def body() -> None:
        with interrupts_held():
            signal.raise_signal(number)
            done.append(1)

    with pytest.raises(Came):
        body()
    assert done


def test_nested_bodies_end_before_the_interrupt() -> None:
    done = []

    def body() -> None:
        with interrupts_held():
            with interrupts_held():
                signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(Came):
        body()
    assert done


def test_an_error_of_the_body_is_not_lost() -> None:
    def body() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("of the body")

    with pytest.raises(Came) as caught:
        body()
    assert isinstance(caught.value.__context__, ValueError)


def test_what_is_ignored_stays_ignored() -> None:
    raising = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts_held():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, raising)


def test_another_thread_does_as_it_would() -> None:
    done = []

    def body() -> None:
        with interrupts_held():
            done.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done == [before]


def interrupted_at(step: int, files: set[str], body: Callable[[], object]) -> str | None:
    """Run the body with a SIGINT before its `step`-th line in these files; return the line, None when it has fewer."""
    seen: set[tuple[FrameType, int]] = set()
    place = None

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal place
        if frame.f_code.co_filename not in files:
            return None
        # A `with` is traced once more when it is left, where Python answers no signal.
        if event == "line" and (frame, frame.f_lineno) not in seen:
            seen.add((frame, frame.f_lineno))
            if len(seen) == step:
                sys.settrace(None)
                place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        with suppress(Came):
            body()
    finally:
        sys.settrace(None)
    return place


def left_by(body: Callable[[], object], *files: str | None) -> list[str]:
    """What a body leaves open or running, by the line of these files that the interrupt came before."""
    places = {file for file in files if file is not None}
    this, left = psutil.Process(), []
    for step in range(1, 500):
        running, opened = set(this.children()), this.num_fds()
        place = interrupted_at(step, places, body)
        if more := set(this.children()) - running:
            left.append(f"{place}: {more}")
        elif this.num_fds() > opened:
            left.append(f"{place}: {this.num_fds() - opened} open")
        if place is None:
            return left
    raise AssertionError("it has no end")


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker in place of nnU-Net's, which ends with its lifeline alone."""
    (tmp_path / "sleeper.py").write_text("import sys\nprint('asleep', flush=True)\nsys.stdin.read()\n")
    monkeypatch.setattr(child, "WORKER", "sleeper")
    return tmp_path


def test_a_step_of_nnunet_ends_wherever_it_is_interrupted(sleeper: Path) -> None:
    def body() -> None:
        environment = {**os.environ, "PYTHONPATH": str(sleeper)}
        with ExitStack() as stack:
            # One that is not interrupted while it starts is when it has.
            timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident or 0, signal.SIGTERM))
            stack.callback(timer.join)
            stack.callback(timer.cancel)
            timer.start()
            child.run_step({"step": "none"}, environment=environment, log=sleeper / "log", heard=print)

    assert left_by(body, child.__file__, interrupts.__file__) == []


def test_a_browser_ends_wherever_it_is_interrupted(tmp_path: Path) -> None:
    def body() -> None:
        with (tmp_path / "said").open("wb") as said:
            pdf._ended([sys.executable, "-S", "-c", "pass"], os.environ, said)

    assert left_by(body, pdf.__file__, interrupts.__file__) == []


def test_the_search_finds_what_is_left(tmp_path: Path) -> None:
    """A start without an owner: the interrupt comes between the two lines."""
    processes: list[subprocess.Popen[bytes]] = []

    def body() -> None:
        processes.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        process = processes[-1]
        process.communicate()

    try:
        assert left_by(body, __file__)
    finally:
        for process in processes:
            process.communicate()
