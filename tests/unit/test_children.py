"""Children of the stack: started again, given up in time, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ps3d_app.flows.service.stack import children
from ps3d_app.flows.service.stack.children import Child, stop_all
from ps3d_app.flows.service.stack.guard import VARIABLE
from ps3d_app.flows.service.stack.state import Service
from ps3d_core.errors import Ps3dError

# Says its process number, starts another process in a session of its own, and ignores requests to end.
STUBBORN = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print(os.getpid(), other.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def child(folder: Path, code: str) -> Child:
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return Child("thing", [sys.executable, "-c", code], environment, folder / "log", folder)


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def pids(folder: Path) -> list[int]:
    wait_until(lambda: (folder / "log").exists() and (folder / "log").read_text().endswith("\n"))
    return [int(word) for word in (folder / "log").read_text().split()]


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_ends_is_started_again_until_it_is_hopeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "FIRST_WAIT_SECONDS", 0.001)
    said: list[str] = []
    ends: list[int] = []
    it = child(tmp_path, "print('started', flush=True); raise SystemExit(3)")
    it.after_end = lambda: ends.append(1)

    def watch() -> bool:
        it.watch(said.append)
        return False

    with pytest.raises(Ps3dError, match=rf"thing: ended 5 times; see {tmp_path / 'log'}; everything is stopped"):
        wait_until(watch)
    assert len(ends) == children.RESTARTS
    assert said[1::2] == ["thing: started again"] * children.RESTARTS
    assert said[0] == f"thing: ended with status 3; starting it again in 0.001 s (log: {tmp_path / 'log'})"
    assert (tmp_path / "log").read_text() == "started\n" * 5
    assert not it.alive


def test_nothing_is_left_of_a_stubborn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = child(tmp_path, STUBBORN)
    monkeypatch.setattr(children, "STOP_SECONDS", 0.2)  # then the guard is killed, and its children one by one
    it.start()
    family = pids(tmp_path)
    assert all(map(running, family))
    stop_all([it])
    assert not [pid for pid in family if running(pid)]


def test_children_notice_that_the_stack_was_killed(tmp_path: Path) -> None:
    code = STUBBORN.replace("signal.SIG_IGN", "signal.SIG_DFL")
    parent = (
        "import pathlib, sys, time\n"
        "from tests.unit.test_children import child\n"
        f"child(pathlib.Path({str(tmp_path)!r}), {code!r}).start()\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=Path(__file__).parents[2]) as stack:
        family = pids(tmp_path)
        guard = psutil.Process(family[0]).parent()
        assert guard is not None
        assert VARIABLE in psutil.Process(family[1]).environ()
        stack.kill()
    wait_until(lambda: not [pid for pid in [*family, guard.pid] if running(pid)])


def test_output_is_for_its_owner_only(tmp_path: Path) -> None:
    it = child(tmp_path, "print(1)")
    it.start()
    it.await_end()
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_child_is_given_the_file_of_its_heartbeat(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    it = child(
        tmp_path,
        "from ps3d_app.flows.machine.heartbeat import beat; import pathlib; pathlib.Path('beats').unlink(); beat()",
    )
    it.service = Service("heartbeat", str(beats))
    it.start()
    it.await_end()
    assert beats.exists()


def test_a_log_that_has_become_long_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ps3d_app.flows.machine.log_file.ROTATE_BYTES", 1000)
    it = child(tmp_path, "import sys, time\nfor n in range(600): print(f'{n:099d}', flush=True); time.sleep(0.01)")
    it.start()
    parts = [tmp_path / f"log.{number}" for number in (1, 2, 3)]

    def rotated() -> bool:
        it.watch(print)
        return all(part.exists() for part in parts)

    wait_until(rotated)
    stop_all([it])
    assert {part.stat().st_mode & 0o777 for part in [tmp_path / "log", *parts]} == {0o600}
    lines = "".join(path.read_text() for path in [*reversed(parts), tmp_path / "log"]).splitlines()
    assert [int(line) for line in lines] == sorted(map(int, lines))  # whole lines, in their order
    assert not (tmp_path / "log.4").exists()
