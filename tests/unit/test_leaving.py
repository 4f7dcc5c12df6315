"""A process that was told to end is gone soon, also when it does not heed it; one that was not goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

PROGRAM = """
import signal, sys, time
from ps3d_app.flows.machine import leaving
leaving.SECONDS = 1
signal.signal(signal.SIGTERM, lambda number, frame: print("heard", flush=True))
with leaving.leaving_soon():
    print("here", flush=True)
    {inside}
{after}
"""


def run(inside: str, after: str = "") -> tuple[int, str]:
    program = PROGRAM.format(inside=inside, after=after)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        time.sleep(0.2)
        process.terminate()
        said = process.stdout.read()
    return process.returncode, said


def test_it_is_gone_while_it_goes_on() -> None:
    assert run("time.sleep(600)") == (-signal.SIGALRM, "heard\n")


def test_it_is_gone_when_the_body_has_ended_too() -> None:
    assert run("time.sleep(0.5)", "time.sleep(600)") == (-signal.SIGALRM, "heard\n")


def test_told_afterwards_it_goes_on() -> None:
    assert run("pass", "time.sleep(1.5); print('done')") == (0, "heard\ndone\n")
