"""Another user of the machine, without a key: where the programs of a stack listen, and what they say and do there."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.orchestration.stack_process import asked

PATIENCE_SECONDS = 30.0
NOBODY = 65534
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
ORIGINS = (None, "http://page.example")
HEALTH = (b"", b"true", b"ok", b"OK", b'{"message":"OK"}')
"""All that may be said to anybody: that a program lives."""


@dataclass(frozen=True)
class Answer:
    """What was asked and what came back."""

    question: str
    status: int
    body: bytes

    @property
    def lets_in(self) -> bool:
        """Whether something was done, or told that is more than a sign of life."""
        return 200 <= self.status < 300 and (not self.question.startswith("GET ") or self.body not in HEALTH)


def listening(processes: Sequence[psutil.Process]) -> list[tuple[str, int]]:
    """Addresses and ports at which these programs listen."""
    return sorted(
        {
            (connection.laddr.ip, connection.laddr.port)
            for process in processes
            for connection in asked(lambda process=process: process.net_connections("inet")) or []
            if connection.status == psutil.CONN_LISTEN
        }
    )


def open_sockets(processes: Sequence[psutil.Process]) -> list[str]:
    """Unix sockets of these programs to which others could connect."""
    names = {name for process in processes for name in asked(lambda process=process: _sockets_of(process)) or []}
    return sorted(name for name in names if name.startswith("@") or _open_to_others(Path(name)))


def _sockets_of(process: psutil.Process) -> list[str]:
    """Names of the sockets of a program; those without a file begin with @."""
    named = [str(connection.laddr) for connection in process.net_connections("unix") if connection.laddr]
    return [name if name.startswith("@") else os.path.join(process.cwd(), name) for name in named]


def _open_to_others(path: Path) -> bool:
    if not path.is_socket() or not path.stat().st_mode & stat.S_IWOTH:
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def answers(port: int, paths: Sequence[str], body: object) -> Iterator[Answer]:
    """What a port says to requests of every kind, with and without a browser's Origin; nothing where it is no HTTP."""
    for number, (path, method, origin) in enumerate(product(paths, METHODS, ORIGINS)):
        headers = {"Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, None if method == "GET" else json.dumps(body), headers)
            answer = connection.getresponse()
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            question = f"{method} {path} at {port}, origin {origin}, allowed {allowed}"
            yield Answer(question, answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            if number == 0:
                return
        finally:
            connection.close()


def enters_by_websocket(port: int, path: str, token: str | None) -> bool:
    """Whether a websocket opens and is told that it may go on; with no token, without Prefect's way to give one."""
    protocols = None if token is None else [Subprotocol("prefect")]
    try:
        with connect(f"ws://127.0.0.1:{port}{path}", subprotocols=protocols, open_timeout=PATIENCE_SECONDS) as opened:
            if token is not None:
                opened.send(json.dumps({"type": "auth", "token": token}))
            opened.recv(timeout=PATIENCE_SECONDS)
            return True
    except (InvalidHandshake, WebSocketException, OSError):
        return False


def speaks_grpc(port: int) -> bool:
    """Whether a port answers the first words of gRPC, in the clear or over TLS without a certificate of ours."""
    return _answers_http2(port, None) or _answers_http2(port, _without_certificate())


def _answers_http2(port: int, tls: ssl.SSLContext | None) -> bool:
    no_settings = b"\0\0\0\x04\0\0\0\0\0"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as plain:
            connection = plain if tls is None else tls.wrap_socket(plain)
            with connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_settings)
                head = connection.recv(9)
                return len(head) == 9 and head[3] == 4  # settings of its own
    except OSError:
        return False


def _without_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def files_open_to_others(folder: Path) -> list[Path]:
    """Files below `folder` that others may read, write or run when they come as far as the folder itself."""
    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if _is_open(here / name)]
        found += [here / name for name in files if _is_open(here / name)]
    return found


def files_below(folder: Path) -> list[Path]:
    """All files below `folder`, in which programs work: some go before they are read."""
    paths = (Path(place, name) for place, _, files in os.walk(folder) for name in files)
    return [path for path in paths if path.is_file()]


def _is_open(path: Path) -> bool:
    return bool((asked(lambda: path.lstat().st_mode) or 0) & 0o007)
