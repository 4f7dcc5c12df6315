"""`ps3d up` as a process of its own, and what tests ask of it."""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from prefect import settings
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import temporary_settings

from ps3d_app.flows.service.stack import guard
from ps3d_core.inbox.layout import Inbox
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from tests.integration.inbox_drops import SIDE, drop

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
STORE, DROPPED = "s3://scans", "dropped"
PATIENCE_SECONDS = 600.0
"""Until a test gives up, which is no figure of merit: the machine may be busy."""
PORTS = range(31000, 32000)
"""Neither outgoing connections nor the inner parts of a stack take these."""


def wait_until(condition: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    return found


def assert_becomes(question: Callable[[], T], expected: T, seconds: float = 60) -> None:
    """Ask until the answer is `expected`: a Prefect server hears of tasks, in their order, later than of their run."""
    give_up = time.monotonic() + seconds
    while (found := question()) != expected:
        assert time.monotonic() < give_up, f"{found!r} is not {expected!r}"
        time.sleep(0.2)


def free_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


class Up:
    """A running `ps3d up`."""

    def __init__(self, home: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AWS_"))}
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ps3d_app.flows.command.cli", "up", *arguments],
            cwd=ROOT,
            env=inherited | {"PS3D_HOME": str(home), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests may run in the background of a shell, where Ctrl-C is ignored by all that is started.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        self.lines: list[str] = []

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("ready"):
                return
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read())

    @property
    def keys(self) -> dict[str, str]:
        """The variables with which S3 clients reach its bucket."""
        return exported(self.home / "s3" / "env")

    @property
    def first_page(self) -> str:
        """The address that it prints for a browser."""
        return next(line.split()[-1] for line in self.lines if line.startswith("Prefect UI"))

    @property
    def ui(self) -> str:
        return self.first_page.removesuffix("/dashboard")

    @property
    def api(self) -> dict[str, str]:
        """The variables with which Prefect's clients reach its server."""
        return exported(self.home / "prefect" / "env")

    def family(self) -> list[psutil.Process]:
        """All processes below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def one(self, *words: str) -> psutil.Process:
        """The process below it whose command has all these words and that no guard is."""
        commands = {process: asked(process.cmdline) or [] for process in self.family()}
        (found,) = [p for p, line in commands.items() if set(words) <= set(line) and guard.__file__ not in line]
        return found

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        with self.connected(), get_client(sync_client=True) as client:
            yield client

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Within it, Prefect's clients reach its server."""
        with temporary_settings({getattr(settings, name): value for name, value in self.api.items()}):
            yield

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        """Start a run of a deployment with its defaults and these parameters."""
        with self.client() as client:
            found = next(d for d in client.read_deployments() if d.name == deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

    def end_of(self, run: FlowRun) -> FlowRun:
        """The run when it has ended."""

        def ended() -> FlowRun | None:
            with self.client() as client:
                now = client.read_flow_run(run.id)
            return now if now.state is not None and now.state.is_final() else None

        found: FlowRun = wait_until(ended)
        return found

    def stop(self) -> tuple[int, str, str]:
        """Ctrl-C; exit status and what was said since."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """kill -9."""
        with self.process:
            self.process.kill()


def exported(file: Path) -> dict[str, str]:
    """The variables of a file for shells."""
    lines = (shlex.split(line)[1] for line in file.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines)


def drop_scan() -> None:
    """Put slices and scan.json into the inbox of the bucket."""
    drop(Inbox(Location.parse(STORE)).incoming, DROPPED)


def assert_scan_comes_out(up: Up) -> None:
    """What was dropped becomes labels, table and report in the bucket with no further action, and its run is shown."""
    inbox = Inbox(Location.parse(STORE))
    wait_until(lambda: inbox.done.children() == [DROPPED])
    result = inbox.result(DROPPED)
    particles = result.run.read_json()["counts"]["particles"]
    assert particles > 3
    assert result.table_csv.read_text().count("\n") == particles + 1
    assert open_image(result.labels).shape == (SIDE, SIDE, SIDE)
    assert result.report.exists()
    with up.client() as client:
        (run,) = [run for run in client.read_flow_runs() if run.name == f"scan {DROPPED}"]
    # The scan is moved within its run, which ends a moment later.
    assert up.end_of(run).state_name == "Completed"


def gone(family: list[psutil.Process]) -> bool:
    """Whether none of these processes is left."""
    return all(not p.is_running() or asked(p.status) in (None, psutil.STATUS_ZOMBIE) for p in family)


def asked(question: Callable[[], T]) -> T | None:
    """What a process or a file answers; None when it has just gone or is somebody else's."""
    try:
        return question()
    except (psutil.Error, OSError):
        return None


def variable_of(process: psutil.Process, name: str) -> str | None:
    """A variable of its environment."""
    return (asked(process.environ) or {}).get(name)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
