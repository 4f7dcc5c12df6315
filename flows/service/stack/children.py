"""Programs that have to run all the time: started, watched, started again, stopped together.

A child that ends is started again, a few times with growing waits. One that goes on ending takes the whole stack down
with it, and the message names its log: a stack that is half alive looks well and does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ps3d_app.flows.machine import heartbeat
from ps3d_app.flows.machine.log_file import rotate
from ps3d_app.flows.service.stack import guard
from ps3d_app.flows.service.stack.leftovers import end_processes_of
from ps3d_app.flows.service.stack.state import PartState, Service
from ps3d_core.errors import Ps3dError
from ps3d_core.interrupts import interrupts_held

LOOK_EVERY_SECONDS = 0.5
RESTARTS = 4
"""How often a child may end within `FORGET_SECONDS` before the stack gives up."""
FIRST_WAIT_SECONDS = 1.0
FORGET_SECONDS = 600.0
STOP_SECONDS = guard.GRACE_SECONDS + guard.KILL_SECONDS + 5.0

Say = Callable[[str], None]


@dataclass
class Child:
    """One program under a guard of its own."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    folder: Path
    after_end: Callable[[], object] = lambda: None
    """Called when it has ended by itself, before it is started again."""
    service: Service | None = None
    """How `ps3d status` finds out whether it does its work."""
    ends: list[float] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _token: str = ""
    _not_before: float = 0.0

    @property
    def alive(self) -> bool:
        """Liveness of the program: True while it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def restarts(self) -> int:
        """Number of times that the program ended, to be started again, in the `FORGET_SECONDS` up to its latest end."""
        return len(self.ends)

    @property
    def state(self) -> PartState:
        """State of the program at this moment."""
        pid = self._process.pid if self._process is not None and self.alive else None
        return PartState(self.name, pid, self.restarts, str(self.log), self.service)

    def start(self) -> None:
        """Start the program; its output goes to its log, which only its owner may read."""
        self._token = uuid.uuid4().hex
        self.log.touch(mode=0o600)
        environment = dict(self.environment)
        if self.service is not None and self.service.kind == "heartbeat":
            environment[heartbeat.VARIABLE] = self.service.where
            Path(self.service.where).touch()
        with self.log.open("ab") as log, interrupts_held():
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", guard.__file__, self._token, *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def watch(self, say: Say) -> None:
        """Start the program again when it has ended.

        Raise `Ps3dError` when that has been tried often enough.
        """
        rotate(self.log)
        now = time.monotonic()
        if self._process is not None and not self.alive:
            status = self._reap()
            self.ends = [end for end in self.ends if now - end < FORGET_SECONDS] + [now]
            if len(self.ends) > RESTARTS:
                raise Ps3dError(f"{self.name}: ended {len(self.ends)} times; see {self.log}; everything is stopped")
            wait = FIRST_WAIT_SECONDS * 2 ** (len(self.ends) - 1)
            self._not_before = now + wait
            say(f"{self.name}: ended with status {status}; starting it again in {wait:g} s (log: {self.log})")
            self.after_end()
        if self._process is None and now >= self._not_before:
            self.start()
            if self.ends:
                say(f"{self.name}: started again")

    def ask_to_stop(self) -> None:
        """Let go of the program, so that its guard stops it; return at once."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def await_end(self) -> None:
        """Wait until nothing of the program is left."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin is not None:
            process.stdin.close()
        status = process.wait()
        end_processes_of(self._token)  # in case it was the guard that was killed
        return status


def stop_all(children: Sequence[Child]) -> None:
    """Stop all children at once and wait until nothing of them is left."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.await_end()
