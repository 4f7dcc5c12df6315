"""Which flow runs this machine works on, whatever becomes of the processes that do.

A process that is killed cannot tell Prefect what became of its run, and it would be shown as running for ever. So
each run has a file here, locked by the process that works on it: the kernel releases the lock however it ends. A file
that nobody holds speaks of a dead run; a run without a file here is another machine's business.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.service.local_server import running_url
from ps3d_core.errors import InputError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

LOCAL: Final = "local"
"""Stands for the API of the local server, whose port may be another one the next time."""
logger = logging.getLogger("ps3d")

_held: dict[str, BinaryIO] = {}


def at_work(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hold the file of this run until the process ends. A hook for the moment when a flow begins to run."""
    # Runs below another one are worked on by its process, and share its fate.
    if flow_run.parent_task_run_id is None and str(flow_run.id) not in _held:
        try:
            _held[str(flow_run.id)] = hold(str(flow_run.id), os.environ.get("PREFECT_API_URL"))
        except (OSError, InputError) as error:
            logger.warning("run %s: would not be ended if this process was killed: %s", flow_run.name, error)


def hold(run: str, api: str | None) -> BinaryIO:
    """Write the file of this run of the API at `api`, lock it and return it open."""
    path = _file(run)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with ExitStack() as undo:
        undo.callback(temporary.unlink, missing_ok=True)
        file = undo.enter_context(temporary.open("w+b"))
        fcntl.flock(file, fcntl.LOCK_EX)  # before it gets its name: it is never seen without the lock
        file.write(json.dumps({"api": _api(api), "host": socket.gethostname()}).encode())
        file.flush()
        temporary.replace(path)
        undo.pop_all()
    return file


def lives(run: str) -> bool | None:
    """Return whether a process of this machine works on the run; None when none ever did, as far as is known here."""
    path = _file(run)
    return _is_held(path) if path.exists() else None


def left_behind(api: str) -> list[str]:
    """Return the ids of the runs of the API at `api` whose process on this machine is gone."""
    return [path.stem for path in _files() if _owner(path) == (_api(api), socket.gethostname()) and not _is_held(path)]


def forget(run: str) -> None:
    """Remove the file of a run that has ended."""
    _file(run).unlink(missing_ok=True)


def _file(run: str) -> Path:
    return home_folder("running") / f"{run}.json"


def _files() -> list[Path]:
    return sorted(home_folder("running").glob("*.json"))


def _api(url: str | None) -> str:
    return LOCAL if url is None or url == running_url() else url


def _owner(path: Path) -> tuple[Any, Any] | None:
    try:
        said = json.loads(path.read_bytes())
        return said["api"], said["host"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_held(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it has ended in good order meanwhile
        return False
    return False


@atexit.register
def _leave() -> None:
    for run, file in _held.items():
        forget(run)
        file.close()
