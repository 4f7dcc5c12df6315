"""What the stack says of itself, for `ps3d status`: stack.json, written by the one that holds stack.lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.home import home_folder
from flows.locks import is_locked


class PartState(BaseModel):
    """One part of the stack."""

    model_config = ConfigDict(frozen=True)

    name: str
    alive: bool
    restarts: int
    log: str


class StackState(BaseModel):
    """Addresses and parts; never a key."""

    model_config = ConfigDict(frozen=True)

    pid: int
    ui: str
    store: str
    s3: str | None
    s3_environment: str | None
    ready: bool
    parts: list[PartState]


def stack_folder() -> Path:
    """Where the stack keeps its lock, its state and the logs of its workers."""
    return home_folder("stack")


def write_state(state: StackState) -> None:
    """Replace stack.json."""
    path = stack_folder() / "stack.json"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(state.model_dump_json(indent=2))
    temporary.replace(path)


def running_stack() -> StackState | None:
    """The stack that runs with this PS3D_HOME, None for none."""
    if not is_locked(stack_folder() / "stack.lock"):
        return None
    try:
        return StackState.model_validate(json.loads((stack_folder() / "stack.json").read_text()))
    except (OSError, ValueError, ValidationError):
        return None  # it has not said anything yet
