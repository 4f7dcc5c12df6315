"""The store of the stack that runs on this machine, for commands that were not told another one."""

from __future__ import annotations

import os
from pathlib import Path

from ps3d_app.flows.service.stack.state import running_stack
from ps3d_core.errors import InputError
from ps3d_core.store.location import Location


def store_of_stack(instead: str) -> Location:
    """Return the place of inbox and results of the running stack; put its keys into the environment.

    Raise `InputError` when none runs; `instead` says what to give then.
    """
    stack = running_stack()
    if stack is None:
        raise InputError(f"no stack runs here whose store could be meant; start it with ps3d up, or give {instead}")
    if stack.s3_environment is not None:
        lines = Path(stack.s3_environment).read_text().splitlines()
        os.environ |= dict(line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    return Location.parse(stack.store)


def store_at(prefix: str | None) -> Location:
    """Return the place that was given, else the store of the stack."""
    return store_of_stack("a folder or URL as PREFIX") if prefix is None else Location.parse(prefix)
