"""A process that was told to end is gone soon, also when it does not heed it; one that was not goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import signal, sys, time
from ps3d_app.flows.machine import leaving
leaving.SECONDS = 1
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
def wait_for_it():
    print("here", flush=True)
    while not heard:
        time.sleep(0.01)
    print("heard", flush=True)
with leaving.leaving_soon():
    {inside}
{after}
"""


def run(inside: str, after: str = "") -> tuple[int, str]:
    """Tell a program to end as soon as it waits for that; exit status and what it printed since."""
    program = PROGRAM.format(inside=inside, after=after)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.terminate()
        said = process.stdout.read()
    return process.returncode, said


def test_it_is_gone_while_it_goes_on() -> None:
    assert run("wait_for_it(); time.sleep(600)") == (-signal.SIGALRM, "heard\n")


def test_it_is_gone_when_the_body_has_ended_too() -> None:
    assert run("wait_for_it()", "time.sleep(600)") == (-signal.SIGALRM, "heard\n")


def test_told_afterwards_it_goes_on() -> None:
    assert run("pass", "wait_for_it(); time.sleep(1.5); print('done')") == (0, "heard\ndone\n")
