"""Parts of a stack are asked all at once; those that are frozen, dead or silent are named."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from ps3d_app.flows.service.prefect_api import PrefectApi
from ps3d_app.flows.service.stack.checks import Check, Finding, checks_of, examine
from ps3d_app.flows.service.stack.state import PartState, Service, StackState, heartbeat_file
from ps3d_core.errors import Ps3dError

PATIENCE_SECONDS = 60.0
"""For answers that come at once, on a machine that may be busy."""


def well() -> str:
    return "fine"


def refuses() -> str:
    raise Ps3dError("in two\n words")


def test_nobody_waits_for_who_is_silent() -> None:
    never = Event()
    checks = [
        Check("silent", "a.log", [], lambda: str(never.wait())),
        Check("well", "b.log", [os.getpid()], well, restarts=2),
        Check("refuses", "c.log", [], refuses),
        Check("ended", "d.log", [None], well),
    ]
    found = examine(checks, seconds=2)
    never.set()
    assert found == [
        Finding("silent", "a.log", "no answer within 2 s"),
        Finding("well", "b.log", None, "fine", restarts=2),
        Finding("refuses", "c.log", "in two words"),
        Finding("ended", "d.log", "its process has ended; the supervisor starts it again"),
    ]


def test_a_stopped_process_is_named_with_what_helps() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        (found,) = examine([Check("part", "log", [process.pid], well)], seconds=PATIENCE_SECONDS)
        process.kill()
    assert found.problem == f"process {process.pid} was stopped by a signal; kill -CONT {process.pid} lets it go on"


def test_an_old_heartbeat_is_that_of_a_frozen_part(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    beats.touch()
    heartbeat_file().touch()
    part = PartState("watcher", os.getpid(), 0, "watcher.log", Service("heartbeat", str(beats)))
    stack = StackState(os.getpid(), "http://x/api", "http://x", "/store", None, None, True, "up.log", [part])
    checks = checks_of(stack, PrefectApi(stack.api))
    found = [(finding.part, finding.problem) for finding in examine(checks, seconds=PATIENCE_SECONDS)]
    assert found == [("supervisor", None), ("watcher", None)]
    os.utime(beats, (time.time() - 100, time.time() - 100))
    problem = str(examine(checks, seconds=PATIENCE_SECONDS)[1].problem)
    assert (found := re.fullmatch(r"its last heartbeat is (\d+) s old", problem))
    assert int(found[1]) >= 100
