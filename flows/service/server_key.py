"""The key of the local Prefect server: whoever has it may start runs, which are programs, as the user of the server.

It is a string user:password, given to the server and to its clients through their environment only, and kept in two
files that nobody else can read: `password` is what Prefect's page asks for, and a shell that sources `env` reaches the
server with `prefect` or any program of its own.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ps3d_app.flows.machine.private import write_private

OPERATORS: Final = "PREFECT_SERVER_API_AUTH_STRING"
USER: Final = "ps3d"


def password_file(folder: Path) -> Path:
    """Return the path of the file with the key of the server of this folder."""
    return folder / "password"


def environment_file(folder: Path) -> Path:
    """Return the path of the file with the variables of a client of this folder's server, for a shell to source."""
    return folder / "env"


def kept_key(folder: Path) -> str | None:
    """Return the key of the server that runs in this folder or ran there last, None before the first."""
    try:
        return password_file(folder).read_text("utf-8").removesuffix("\n") or None
    except FileNotFoundError:
        return None


def key_to_serve_with(folder: Path) -> str:
    """Return the key for a server in this folder, kept from now on.

    It is the operator's in $PREFECT_SERVER_API_AUTH_STRING, else that of before, else a new one. For one at a time: the
    caller holds the lock of those who start servers.
    """
    kept = kept_key(folder)
    key = os.environ.get(OPERATORS) or kept or f"{USER}:{secrets.token_urlsafe(30)}"
    if key != kept:
        write_private(password_file(folder), f"{key}\n")
    return key


def write_environment(folder: Path, variables: Mapping[str, str]) -> None:
    """Write the variables of a client of this folder's server to the file that shells source."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_private(environment_file(folder), "".join(lines))
