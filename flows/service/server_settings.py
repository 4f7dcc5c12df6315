"""The settings of the local Prefect server: ours, under those of the operator that are meant for any server.

An operator decides who may come in, under which address the pages are served, how they look, and how long history is
kept. Which database, broker or port a server uses is decided for one server, and that is another one than ours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ps3d_app.flows.machine.module_path import module_path
from ps3d_app.flows.service.server_key import OPERATORS
from ps3d_app.flows.service.server_pace import CALM
from ps3d_core.errors import InputError

DATABASE_VARIABLE: Final = "PS3D_DATABASE_URL"

_KEPT: Final = (
    "PREFECT_SERVER_API_",
    "PREFECT_SERVER_CORS_",
    "PREFECT_SERVER_CSRF_",
    "PREFECT_SERVER_UI_",
    "PREFECT_UI_",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_",
    "PREFECT_SERVER_EVENTS_RETENTION_",
    "PREFECT_EVENTS_RETENTION_",
    "PREFECT_SERVER_LOGGING_",
)
_DROPPED: Final = ("PREFECT_SERVER_API_HOST", "PREFECT_SERVER_API_PORT")


def server_environment(folder: Path, port: int, key: str) -> dict[str, str]:
    """Return the environment of a server with its files in `folder`, on `port` of 127.0.0.1, that asks for `key`."""
    foreign = {name: value for name, value in os.environ.items() if not name.upper().startswith("PREFECT_")}
    operators = {name: value for name, value in os.environ.items() if name.startswith(_KEPT) and value}
    for name in _DROPPED:
        operators.pop(name, None)
    fixed = {
        "PYTHONPATH": module_path(),
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_BASE_PATH": api_path(),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        OPERATORS: key,
    }
    return foreign | _unless_told(folder, port) | operators | fixed | database_settings()


def _unless_told(folder: Path, port: int) -> dict[str, str]:
    # Of the names that a setting has these are the ones that Prefect reads last, so that any of the operator's counts.
    ours = CALM | {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # an inbox alone makes a run per minute
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # it reports to others what is looked at
        "PREFECT_UI_API_URL": api_path(),  # else the UI looks for the server at Prefect's usual port
        "PREFECT_UI_URL": ui_url(port),
    }
    if (base := _ui_path()) != "/":  # written into the pages, which other servers of this installation share
        ours["PREFECT_UI_STATIC_DIRECTORY"] = str(folder / f"pages{base.replace('/', '-')}")
    return ours


def api_path() -> str:
    """Return the path below which the server serves its API."""
    return "/" + (os.environ.get("PREFECT_SERVER_API_BASE_PATH") or "api").strip("/")


def api_url(port: int) -> str:
    """Return the address of the API of a server on this port."""
    return f"http://127.0.0.1:{port}{api_path()}"


def ui_url(port: int) -> str:
    """Return the address of the pages of a server on this port.

    It is what the operator says of a proxy in front, else the server's own.
    """
    return (os.environ.get("PREFECT_UI_URL") or f"http://127.0.0.1:{port}{_ui_path()}").rstrip("/")


def _ui_path() -> str:
    names = ("PREFECT_SERVER_UI_SERVE_BASE", "PREFECT_UI_SERVE_BASE")
    return "/" + next(filter(None, map(os.environ.get, names)), "").strip("/")


def database_settings() -> dict[str, str]:
    """Return Prefect's setting for the database in $PS3D_DATABASE_URL; none for SQLite in the server's folder.

    Raise `InputError` when the address is not one of PostgreSQL with asyncpg.
    """
    database = os.environ.get(DATABASE_VARIABLE)
    if not database:
        return {}
    if not database.startswith("postgresql+asyncpg://"):
        raise InputError(
            f"{DATABASE_VARIABLE} {database.partition(':')[0]}:...: must begin with postgresql+asyncpg://; give it as "
            "postgresql+asyncpg://user:password@host:5432/database, or unset it to use SQLite"
        )
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
