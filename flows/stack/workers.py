"""Prefect's process workers: they take runs of deployments from a work pool and give each a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flows.local_server import QUIET
from flows.stack import recovery
from flows.stack.children import Child
from ps3d_core.errors import Ps3dError

START_SECONDS = 300.0
POLL_SECONDS = 2
RUNS_AT_ONCE = 8
"""More than the queues let through, so that a full queue does not keep the others waiting."""


def worker(pool: str, number: int, *, api: str, s3: Mapping[str, str], folder: Path) -> Child:
    """The program of one worker, not yet started. `s3` are the variables with which its runs reach the store."""
    name = worker_name(pool, number)
    command = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--name", name, "--limit", str(RUNS_AT_ONCE), "--no-create-pool-if-not-found"]
    return Child(
        f"worker {pool}-{number}",
        command,
        client_environment(api, s3, folder),
        log=folder / f"worker-{pool}-{number}.log",
        folder=folder,
        after_end=recovery.continue_dead_runs,
    )


def worker_name(pool: str, number: int) -> str:
    """Its name in the UI."""
    return f"ps3d-{pool}-{number}@{socket.gethostname()}"


def has_gpu() -> bool:
    """Whether this machine has a CUDA device that PyTorch can use."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return False  # without waiting for the import of torch
    import torch

    return torch.cuda.is_available()


def await_online(names: Mapping[str, str], goes_on: Callable[[], None]) -> None:
    """Wait until the workers, given with their pools, have reported to the server."""
    from prefect.client.orchestration import get_client

    give_up = time.monotonic() + START_SECONDS
    with get_client(sync_client=True) as client:
        while time.monotonic() < give_up:
            goes_on()
            online = {
                found.name
                for pool in set(names.values())
                for found in client.read_workers_for_work_pool(pool)
                if found.status == "ONLINE"
            }
            if online >= set(names):
                return
            time.sleep(0.25)
    raise Ps3dError(f"workers {', '.join(sorted(names))} do not report to the server; see their logs")


def client_environment(api: str, s3: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables of a program that works for the server at `api` and reaches the store with those in `s3`."""
    # Settings meant for the user's own servers must not reach the workers, nor their flow runs.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    if s3:
        own = {name: value for name, value in own.items() if not name.startswith("AWS_")}
    return own | {
        **QUIET,
        **s3,
        "PREFECT_HOME": str(folder),  # nor does a profile
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(Path(__file__).parents[2]), *filter(None, sys.path)])),
    }
