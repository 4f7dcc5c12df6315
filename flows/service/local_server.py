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

The server asks for a key (see `server_key`). Clients are given it together with its address, and with no other one.
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
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.machine.locks import exclusive, is_locked, shared
from ps3d_app.flows.machine.log_file import attach
from ps3d_app.flows.service.server_key import kept_key, key_to_serve_with, password_file, write_environment
from ps3d_app.flows.service.server_settings import api_url, server_environment
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.interrupts import interrupts_held

PREFERRED_PORT = 4210
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
    ui: str
    """Address of its pages, without a slash at the end."""
    local: bool
    """True for the server that ps3d runs on this machine."""

    @property
    def pages(self) -> str:
        """One line with the address of the first page and, for our own server, how to log in."""
        login = f" (log in with the line in {password_file(server_folder())})" if self.local else ""
        return f"{first_page(self.ui)}{login}"

    def how_to_see(self, flow_run_id: object) -> str:
        """Return one line that says where the page of a finished flow run is."""
        page = f"{self.ui}/runs/flow-run/{flow_run_id}"
        return f"Prefect    look at the run: ps3d up, then {page}" if self.local else f"Prefect    {page}"


@contextmanager
def api() -> Iterator[Api]:
    """Hold a connection to a Prefect API while the body runs, for the flows run in it, and yield the API.

    It is that of $PREFECT_API_URL or the active profile, else the local server's. Raise `InputError` when a configured
    API does not answer, or asks for another key.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if (configured := configured_url()) is not None:
        with configured_api(configured) as connected:
            yield connected
        return
    # The import takes about as long as the server's start, and whoever comes in by this door needs it anyway.
    with local_server(meanwhile=lambda: import_module("prefect")) as url, using(url):
        yield Api(url, local_ui(), local=True)


@contextmanager
def configured_api(url: str) -> Iterator[Api]:
    """Hold a connection to the API that the user configured while the body runs, and yield the API.

    Raise `InputError` when it does not answer, or asks for another key.
    """
    with using(url):
        from prefect.settings import get_current_settings

        _check(url)
        yield Api(url, get_current_settings().ui_url or url.removesuffix("/api"), local=False)


@contextmanager
def using(url: str) -> Iterator[None]:
    """Make `url` the API of all that runs inside, in this process and its children; send what is queued at the end.

    Raise `InputError` when the API asks for another key.
    """
    variables = client_variables(url)
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    from prefect import settings

    attach()
    try:
        with (
            _refusal_in_one_line(url),
            settings.temporary_settings({getattr(settings, name): value for name, value in variables.items()}),
        ):
            try:
                yield
            finally:
                _send_the_rest()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def client_variables(url: str) -> dict[str, str]:
    """Return the variables with which Prefect's clients reach the API at `url`.

    They hold our key when, and only when, the API is ours. Others are reached with what the user configured.
    """
    if url != running_url():
        return {"PREFECT_API_URL": url}
    ours = {"PREFECT_API_URL": url}
    if (ui := local_ui()) != url.removesuffix("/api"):  # where Prefect would look for it
        ours["PREFECT_UI_URL"] = ui
    if (key := kept_key(server_folder())) is not None:
        ours["PREFECT_API_AUTH_STRING"] = key
    return ours


@contextmanager
def local_server(port: int | None = None, *, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Hold the local server while the body runs, and yield the address of its API.

    Start it when nobody runs it; the last user's leaving stops it. It listens on `port`, or on the usual one or any
    other that is free. One that runs already is used wherever it listens. While it starts, `meanwhile` is done.
    """
    folder = server_folder()
    with ExitStack() as leave, ExitStack() as use:
        with exclusive(folder / "gate.lock"):
            use.enter_context(shared(folder / "users.lock"))
            url = running_url() or _start(folder, port, meanwhile)
        leave.callback(_await_end, folder)  # after Ctrl-C as well: "stopped" has to be true when it is said
        yield url


def revive(url: str) -> None:
    """Start the local server that ended by itself once more, at its old address; for one who uses it.

    Raise `Ps3dError` when it does not start there.
    """
    folder, port = server_folder(), urlsplit(url).port
    with exclusive(folder / "gate.lock"):
        if running_url() != url and _start(folder, port) != url:
            raise Ps3dError(f"the local Prefect server does not come back at {url}; see {folder / 'server.log'}")


def running_url() -> str | None:
    """Return the address of the API of the local server, None when none runs.

    Raise `InputError` when a server of another machine uses the folder.
    """
    said = _reported_by_server()
    return None if said is None else said["url"]


def local_ui() -> str:
    """Return the address of the pages of the local server, without a slash at the end.

    Raise `Ps3dError` when none runs.
    """
    if (said := _reported_by_server()) is None:
        raise Ps3dError("the local Prefect server does not run", "start it with ps3d up")
    return said["ui"]


def first_page(ui: str) -> str:
    """Return the address of the page to look at first, of the pages at `ui`.

    Unlike the bare address it is always in the first of Prefect's two looks, as all links.
    """
    return f"{ui}/dashboard"


def _reported_by_server() -> dict[str, str] | None:
    folder = server_folder()
    if not is_locked(folder / "server.lock"):
        return None
    try:
        server = json.loads((folder / "server.json").read_text())
        said, host = {name: str(server[name]) for name in ("url", "ui")}, str(server["host"])
    except (OSError, ValueError, KeyError):
        return None  # it holds the lock but has not said its address yet
    if host != socket.gethostname():
        raise InputError(f"{folder}: in use by a server on {host}; set PS3D_HOME to a folder of this machine")
    return said


def configured_url() -> str | None:
    """Return the address of the API that the user configured for Prefect, None for none."""
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
    """Return the folder in which the local server keeps its database, its log and its locks."""
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
        client.read_flows(limit=1)  # health is told to everybody


@contextmanager
def _refusal_in_one_line(url: str) -> Iterator[None]:
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise
        if url == running_url():
            file = password_file(server_folder())
            raise InputError(f"{url}: not served with the key in {file}", "end what uses that server") from error
        told = "set" if {"PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"} & os.environ.keys() else "not set"
        raise InputError(
            f"PREFECT_API_URL {url}: refused (status {error.response.status_code}; PREFECT_API_AUTH_STRING is {told})",
            "set PREFECT_API_AUTH_STRING to the user:password of that server",
            "unset PREFECT_API_URL to use a local one",
            "run without Prefect by <direct>",
        ) from error


def _start(folder: Path, wanted: int | None = None, meanwhile: Callable[[], object] = lambda: None) -> str:
    key = key_to_serve_with(folder)
    for _ in range(LAUNCHES):
        port = wanted or _free_port()
        with interrupts_held():
            process = _launch(folder, port, key)
            _children.append(process)
        url = api_url(port)
        meanwhile()
        if _answers(url, port, process):
            write_environment(folder, client_variables(url))
            return url
    log = folder / "server.log"
    raise Ps3dError("the local Prefect server does not start", f"see {log}", "run without Prefect by <direct>")


def _launch(folder: Path, port: int, key: str) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "ps3d_app.flows.service.server_process", str(folder), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=server_environment(folder, port, key),
            start_new_session=True,
        )


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
