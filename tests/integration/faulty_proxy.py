"""An HTTP proxy in front of an S3 server that fails the ways real networks and stores fail, by count and not by chance.

Which request fails depends on how many came before it, never on time: a slow machine sees the same faults as a fast
one. A stalled request is held until its client gives up, however long that takes.
"""

from __future__ import annotations

import http.client
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KINDS = ("busy", "broken", "closed", "lost", "stalled", "truncated", "corrupted")
STATUS = {"busy": (503, "SlowDown"), "broken": (500, "InternalError")}
CHECKSUM = "x-amz-checksum-"


@dataclass
class Faults:
    """Which requests go wrong, and how.

    busy, broken: answers 503 SlowDown or 500 InternalError without passing the request on.
    closed: closes the connection without passing the request on.
    lost: passes the request on, then closes the connection without an answer.
    stalled: passes the request on, then keeps silent until the client has left.
    truncated, corrupted: half a body, or a body with a bit flipped; that of the request, if it has one, else that of
        the answer. What has no body is closed.

    Of the requests whose method is among `methods` (all, when empty) and whose path contains `path`, one in `every`
    fails, in the ways of `kinds` in turn, until `most` have failed.
    """

    kinds: Sequence[str]
    every: int = 1
    most: int | None = None
    methods: Sequence[str] = ()
    path: str = ""
    checksums: bool = True
    """False takes the checksums out of answers: not every store sends them."""
    happened: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often what went wrong, by kind and method."""
    requests: list[str] = field(default_factory=list)
    """Method and path of all requests."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._matching = 0

    def next(self, method: str, path: str) -> str | None:
        """What goes wrong with this request."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            if self.path not in path or (self.methods and method not in self.methods):
                return None
            self._matching += 1
            done = self.happened.total()
            if self._matching % self.every or (self.most is not None and done >= self.most):
                return None
            kind = self.kinds[done % len(self.kinds)]
            self.happened[kind, method] += 1
            return kind


@contextmanager
def faulty_proxy(endpoint: str, faults: Faults) -> Iterator[str]:
    """Address of a proxy that passes requests on to `endpoint`."""

    class Handler(_Handler):
        pass

    Handler.target, Handler.faults = urlsplit(endpoint).netloc, faults
    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def assert_no_keys(text: str) -> None:
    """No part of the credentials in the environment is in `text`."""
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    assert os.environ["AWS_ACCESS_KEY_ID"] not in text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients leave; that is the point here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms between head and body
    target: str
    faults: Faults

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.next(self.command, self.path)
        if fault in STATUS:
            status, code = STATUS[fault]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{fault}</Message></Error>".encode())
            return
        if fault == "closed":
            self.close_connection = True
            return
        if fault in ("truncated", "corrupted") and body:
            body = _damaged(fault, body)
            fault = None
        status, headers, answer = self._ask(body)
        if fault is None:
            self._answer(status, headers, answer)
        elif fault == "corrupted" and answer:
            self._answer(status, headers, _damaged(fault, answer))
        elif fault == "truncated" and answer:
            self._send_head(status, headers, len(answer))
            self.wfile.write(_damaged(fault, answer))
            self.close_connection = True
        else:
            if fault == "stalled":
                self.rfile.read(1)  # nothing comes, until the client closes
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=600)
        try:
            # The Host header is signed: it stays the proxy's.
            skipped = {"expect", "content-length"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
            if body or self.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        length = int(headers.get("Content-Length") or 0) if self.command == "HEAD" else len(body)
        self._send_head(status, headers, length)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            own = name.lower() in ("content-length", "transfer-encoding", "connection")
            if not own and (self.faults.checksums or not name.lower().startswith(CHECKSUM)):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _damaged(fault: str, body: bytes) -> bytes:
    if fault == "truncated":
        return body[: len(body) // 2]
    flipped = bytearray(body)
    flipped[len(body) // 3] ^= 4
    return bytes(flipped)
