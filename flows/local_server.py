"""The Prefect API that a command talks to: the configured one, or a server on this machine that ps3d starts.

The local server keeps its history in a SQLite file, or in the PostgreSQL database of $PS3D_DATABASE_URL, listens on
127.0.0.1 only and lives as long as anybody uses it.
Who uses it is a matter of file locks, which the kernel releases however a process ends:

    users.lock    held shared by every command that uses the server
    server.lock   held by the server for its whole life; server.json beside it holds its address
    gate.lock     held for a moment by whoever joins, starts or stops it

The server itself watches users.lock and leaves when nobody holds it (see `server_process`), so neither Ctrl-C nor
kill -9 leaves one behind. Prefect's own ephemeral server is never used: it forgets its history and prints tracebacks
when a short command ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import psutil

from flows.home import home_folder
from flows.locks import exclusive, is_locked, shared
from flows.log_file import attach
from flows.server_pace import CALM
from ps3d_core.errors import InputError, Ps3dError

PREFERRED_PORT = 4210
DATABASE_VARIABLE = "PS3D_DATABASE_URL"
START_SECONDS = 300.0
STOP_SECONDS = 20.0
LAUNCHES = 3

# What makes Prefect silent on the terminal and keeps it from telephoning; log records still reach the API and our log.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
}


# Servers that this process started and has to reap; others may go on using them.
_children: list[subprocess.Popen[bytes]] = []


class Api(NamedTuple):
    """A Prefect API that answers."""

    url: str
    local: bool
    """True for the server that ps3d runs on this machine."""

    @property
    def ui(self) -> str:
        """Address of the UI of a self-hosted server."""
        return self.url.removesuffix("/api")

    def how_to_see(self, flow_run_id: object) -> str:
        """One line that says where the page of a finished flow run is."""
        page = f"{self.ui}/runs/flow-run/{flow_run_id}"
        return f"Prefect    look at the run: ps3d up, then {page}" if self.local else f"Prefect    {page}"


@contextmanager
def api() -> Iterator[Api]:
    """The Prefect API for the flows run inside: $PREFECT_API_URL or the active profile's, else the local server.

    Raises `InputError` when a configured API does not answer.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if (configured := configured_url()) is not None:
        with using(configured):
            _check(configured)
            yield Api(configured, local=False)
        return
    # The import takes about as long as the server's start, and whoever comes in by this door needs it anyway.
    with local_server(meanwhile=lambda: import_module("prefect")) as url, using(url):
        yield Api(url, local=True)


@contextmanager
def using(url: str) -> Iterator[None]:
    """Make `url` the API of all that runs inside, in this process and its children; send what is queued at the end."""
    before = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = url
    from prefect.settings import PREFECT_API_URL, temporary_settings

    attach()
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            try:
                yield
            finally:
                _send_the_rest()
    finally:
        if before is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = before


@contextmanager
def local_server(port: int | None = None, *, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Address of the local server's API. Starts it when nobody runs it; the last user's leaving stops it.

    On `port`, or on the usual one or any other that is free. One that runs already is used wherever it listens. While
    it starts, `meanwhile` is done.
    """
    folder = server_folder()
    with ExitStack() as leave, ExitStack() as use:
        with exclusive(folder / "gate.lock"):
            use.enter_context(shared(folder / "users.lock"))
            url = running_url() or _start(folder, port, meanwhile)
        leave.callback(_await_end, folder)  # after Ctrl-C as well: "stopped" has to be true when it is said
        yield url


def revive(url: str) -> None:
    """Start the server that ended by itself once more, at its old address; for one who uses it.

    Raises `Ps3dError` when it does not start there.
    """
    folder, port = server_folder(), int(url.removesuffix("/api").rpartition(":")[2])
    with exclusive(folder / "gate.lock"):
        if running_url() != url and _start(folder, port) != url:
            raise Ps3dError(f"the local Prefect server does not come back at {url}; see {folder / 'server.log'}")


def running_url() -> str | None:
    """Address of the API of the local server, None when none runs."""
    folder = server_folder()
    if not is_locked(folder / "server.lock"):
        return None
    try:
        server = json.loads((folder / "server.json").read_text())
        url, host = str(server["url"]), str(server["host"])
    except (OSError, ValueError, KeyError):
        return None  # it holds the lock but has not said its address yet
    if host != socket.gethostname():
        raise InputError(f"{folder}: in use by a server on {host}; set PS3D_HOME to a folder of this machine")
    return url


def configured_url() -> str | None:
    """The API that the user configured for Prefect, None for none."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    profiles = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect") / "profiles.toml"
    project = Path("pyproject.toml")
    in_project = project.exists() and b"[tool.prefect" in project.read_bytes()
    if not in_project and not any(file.exists() for file in (profiles, Path("prefect.toml"), Path(".env"))):
        return None  # nothing that Prefect could read: spare its import, which takes seconds
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def server_folder() -> Path:
    """Where the local server keeps its database, its log and its locks."""
    return home_folder("prefect")


def _send_the_rest() -> None:
    """Log records and events wait in queues; a server that stops before they are sent would cause error messages."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=5)


def _check(url: str) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if (problem := client.api_healthcheck()) is not None:
            raise InputError(
                f"PREFECT_API_URL {url}: no answer ({type(problem).__name__})",
                "start that server",
                "unset the variable to use a local one",
                "run without Prefect by <direct>",
            ) from problem


def _start(folder: Path, wanted: int | None = None, meanwhile: Callable[[], object] = lambda: None) -> str:
    for _ in range(LAUNCHES):
        port = wanted or _free_port()
        process = _launch(folder, port)
        _children.append(process)
        url = f"http://127.0.0.1:{port}/api"
        meanwhile()
        if _answers(url, port, process):
            return url
    log = folder / "server.log"
    raise Ps3dError("the local Prefect server does not start", f"see {log}", "run without Prefect by <direct>")


def _launch(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "flows.server_process", str(folder), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_server_environment(folder),
            start_new_session=True,
        )


def _server_environment(folder: Path) -> dict[str, str]:
    # The server is ours: settings meant for the user's own servers (a database, a port) must not reach it.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    paths = [str(Path(__file__).parents[1]), inherited.get("PYTHONPATH", "")]
    return inherited | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # an inbox alone makes a run per minute
        "PREFECT_SERVER_UI_API_URL": "/api",  # else the UI looks for the server at Prefect's usual port
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        **CALM,
        **database_settings(),
    }


def database_settings() -> dict[str, str]:
    """Prefect's setting for the database in $PS3D_DATABASE_URL; none for SQLite in the server's folder."""
    database = os.environ.get(DATABASE_VARIABLE)
    if not database:
        return {}
    if not database.startswith("postgresql+asyncpg://"):
        raise InputError(
            f"{DATABASE_VARIABLE} {database.partition(':')[0]}:...: must begin with postgresql+asyncpg://; give it as "
            "postgresql+asyncpg://user:password@host:5432/database, or unset it to use SQLite"
        )
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}


def _answers(url: str, port: int, process: subprocess.Popen[bytes]) -> bool:
    """True once the server is healthy; False when it ended instead, as it does when its port was taken meanwhile.

    By whom it was taken matters: the server of another folder would answer for this one, which is about to end.
    """
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310
                if answer.status == 200 and _listens(process.pid, port):
                    return True
            time.sleep(0.05)
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    process.kill()
    process.wait()
    return False


def _listens(pid: int, port: int) -> bool:
    """Whether the process, or one that it started, serves this port."""
    try:
        server = psutil.Process(pid)
        connections = [c for process in (server, *server.children(recursive=True)) for c in process.net_connections()]
    except psutil.NoSuchProcess:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def _await_end(folder: Path) -> None:
    """Wait until the server has gone, unless somebody else uses it."""
    with exclusive(folder / "gate.lock"):  # else the server's own look at users.lock could pass for a user
        if is_locked(folder / "users.lock"):
            return
    give_up = time.monotonic() + STOP_SECONDS
    while is_locked(folder / "server.lock") and time.monotonic() < give_up:
        time.sleep(0.05)
    while _children:
        _children.pop().wait()


def _free_port() -> int:
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as probe:
            # As servers do, else the port of one that stopped a moment ago would look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Ps3dError("no free port on 127.0.0.1", "close some programs", "run without Prefect by <direct>")
