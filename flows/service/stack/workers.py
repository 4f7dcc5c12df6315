"""Prefect's process workers: they take runs of deployments from a work pool and give each a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ps3d_app.flows.machine.module_path import module_path
from ps3d_app.flows.machine.private import private_folder
from ps3d_app.flows.service.local_server import QUIET
from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi
from ps3d_app.flows.service.stack.children import Child
from ps3d_app.flows.service.stack.state import Service
from ps3d_core.errors import Ps3dError

START_SECONDS = 300.0
POLL_SECONDS = 5
"""Between looks for runs to start; every one costs the server some work."""
HEARTBEAT_SECONDS = 10
RUNS_AT_ONCE = 8
"""More than the queues let through, so that a full queue does not keep the others waiting."""


def worker(
    pool: str, number: int, environment: Mapping[str, str], folder: Path, after_end: Callable[[], object]
) -> Child:
    """Return the program of one worker, not yet started; `environment` is that of its runs as well."""
    name = worker_name(pool, number)
    command = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--name", name, "--limit", str(RUNS_AT_ONCE), "--no-create-pool-if-not-found"]
    return Child(
        f"worker {pool}-{number}",
        command,
        environment,
        log=folder / f"worker-{pool}-{number}.log",
        folder=folder,
        after_end=after_end,
        service=Service("worker", f"{pool}/{name}"),
    )


def worker_name(pool: str, number: int) -> str:
    """Return the name of a worker in the UI."""
    return f"ps3d-{pool}-{number}@{socket.gethostname()}"


def has_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether this machine has a CUDA device that PyTorch can use."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return False  # without waiting for the import of torch
    # In a process of its own: torch would stay in the memory of this one, which runs for months.
    question = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    command = [sys.executable, "-P", "-c", question]
    return subprocess.run(command, env=dict(environment), capture_output=True, check=False).returncode == 0  # noqa: S603


def await_online(api: PrefectApi, names: Mapping[str, str], goes_on: Callable[[], None]) -> None:
    """Wait until the workers, given with their pools, have reported to the server.

    Raise `Ps3dError` when they have not within `START_SECONDS`.
    """
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        goes_on()
        with suppress(NoAnswerError):  # of a server that has just died and comes back
            if _online(api, set(names.values())) >= set(names):
                return
        time.sleep(0.25)
    raise Ps3dError(f"workers {', '.join(sorted(names))} do not report to the server; see their logs")


def _online(api: PrefectApi, pools: set[str]) -> set[str]:
    workers = [worker for pool in pools for worker in api.all(f"/work_pools/{pool}/workers/filter", {})]
    return {worker["name"] for worker in workers if worker["status"] == "ONLINE"}


def temporary_folder(folder: Path) -> Path:
    """Return the folder in which workers and runs keep what is of the moment, settings and keys of runs among it.

    Prefect uses names there that are known: in /tmp, to anybody.
    """
    return folder / "tmp"


def client_environment(api: Mapping[str, str], s3: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of a program that uses the server and the store of the stack.

    It reaches the server by the variables `api` and the store by those in `s3`. Prefect keeps the program's things in
    `folder`.
    """
    # Settings meant for the user's own servers must not reach the workers, nor their flow runs.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    private_folder(temporary_folder(folder))
    if s3:
        own = {name: value for name, value in own.items() if not name.startswith("AWS_")}
    return own | {
        **QUIET,
        **s3,
        **api,
        "PREFECT_HOME": str(folder),  # nor does a profile
        "TMPDIR": str(temporary_folder(folder)),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PYTHONPATH": module_path(),
    }
