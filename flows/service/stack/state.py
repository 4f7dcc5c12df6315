"""State of the stack for `ps3d status`: stack.json, written by the one that holds stack.lock."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.machine.locks import is_locked


@dataclass(frozen=True, slots=True)
class Service:
    """Way to find out whether a part of the stack does its work; `ps3d_app.flows.service.stack.checks` does."""

    kind: Literal["s3", "worker", "heartbeat"]
    where: str
    """Endpoint of an S3 server; pool and name of a worker, as in cpu/worker-1; file that is touched again and again."""


@dataclass(frozen=True, slots=True)
class PartState:
    """State of one part of the stack."""

    name: str
    pid: int | None
    """The process above all that belongs to it; None while it does not run."""
    restarts: int
    log: str
    service: Service | None


@dataclass(frozen=True, slots=True)
class StackState:
    """Addresses and parts of the running stack; never a key."""

    pid: int
    api: str
    ui: str
    store: str
    s3: str | None
    s3_environment: str | None
    ready: bool
    log: str
    parts: list[PartState]


def stack_folder() -> Path:
    """Return the folder in which the stack keeps its lock, its state and the logs of its workers."""
    return home_folder("stack")


def heartbeat_file() -> Path:
    """Return the path of the file that the stack touches every time it has looked after its parts."""
    return stack_folder() / "heartbeat"


def write_state(state: StackState) -> None:
    """Replace stack.json by one with this state."""
    path = stack_folder() / "stack.json"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(state), indent=2))
    temporary.replace(path)


def running_stack() -> StackState | None:
    """Return the state of the stack that runs with this PS3D_HOME, None for none."""
    if not is_locked(stack_folder() / "stack.lock"):
        return None
    try:
        said = json.loads((stack_folder() / "stack.json").read_text())
        return StackState(**said | {"parts": [_part(part) for part in said["parts"]]})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # it has not said anything yet


def _part(said: dict[str, Any]) -> PartState:
    return PartState(**said | {"service": Service(**said["service"]) if said["service"] else None})
