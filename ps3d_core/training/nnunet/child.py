"""A step of nnU-Net in a process of its own.

nnU-Net prints, warns, sets process-wide switches, reads its folders from the environment and starts helpers; none of
that may leak into a program that also serves other runs. So each step is a child with its own session: what it prints
goes to a log, what it reports comes through a pipe as lines of JSON, and stopping it stops its helpers too. The
child's standard input is a lifeline: it ends with this process, however that ends, and the child with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, TextIO, cast

from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.interrupts import interrupts_held

WORKER: Final = "ps3d_core.training.nnunet.worker"
_STOP_SECONDS: Final = 5.0
_TAIL_BYTES: Final = 20_000

Report = dict[str, Any]


class TrainingFailedError(Ps3dError):
    """Failure of nnU-Net; the message has its last line and where the rest is."""


def run_step(
    order: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    log: Path,
    heard: Callable[[Report], None],
) -> None:
    """Run one step of `worker` to its end.

    Args:
        order: what to do, JSON-able; see `worker.main`.
        environment: all variables of the child.
        log: file that everything it prints is appended to.
        heard: is told every report, in this thread.

    Raises:
        InputError: when the worker says that something the user gave cannot be used.
        TrainingFailedError: when it fails in any other way.

    """
    log.parent.mkdir(parents=True, exist_ok=True)
    refused: list[str] | None = None
    with ExitStack() as stack:
        with interrupts_held():
            process, reports = _start(order, environment, log, stack)
        for line in reports:
            report: Report = json.loads(line)
            if report["kind"] == "refused":
                refused = report["text"]
            else:
                heard(report)
        status = process.wait()
    if refused is not None:
        raise InputError(*refused)
    if status != 0:
        raise TrainingFailedError(f"nnU-Net ended with status {status}: {_last_line(log)}; all it printed is in {log}")


def _start(
    order: Mapping[str, Any], environment: Mapping[str, str], log: Path, stack: ExitStack
) -> tuple[subprocess.Popen[bytes], TextIO]:
    """Start the child; return it with what it will report. The end of the stack is its end."""
    reading, writing = os.pipe()
    reports = stack.enter_context(os.fdopen(reading, encoding="utf-8"))
    try:
        with log.open("ab") as printed:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", WORKER, json.dumps(order), str(writing)],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env=dict(environment),
                cwd=log.parent,
                start_new_session=True,
            )
    finally:
        os.close(writing)
    # Helpers that outlive the child would keep the pipe open for ever.
    sweeper = threading.Thread(target=_sweep, args=(process,), daemon=True)
    sweeper.start()
    stack.callback(sweeper.join)
    stack.enter_context(cast(IO[bytes], process.stdin))  # if stopping is interrupted, the lifeline still ends it
    stack.callback(_stop, process)
    return process, reports


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Once the child has ended, end whatever it left."""
    process.wait()
    _signal(process, signal.SIGKILL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the child, if it is still there; its helpers go with it. Who is in a hurry waits some seconds at most."""
    with interrupts_held():
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "it printed nothing")
