"""An HTTP proxy in front of an S3 server that fails at given rates, the ways real networks and stores fail."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
LARGE = 1000
"""Bytes from which an answer is data; only data carries checksums, so only data is damaged."""


@dataclass
class Faults:
    """Rates between 0 and 1 by kind; `happened` counts.

    busy: answers 503 SlowDown without passing the request on.
    closed: closes the connection, the request passed on or not.
    stalled: keeps silent for `stall_seconds`, then closes.
    truncated: sends half of an answer's body.
    corrupted: flips a bit of an answer's body.
    """

    rates: Mapping[str, float]
    stall_seconds: float = 3.0
    seed: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def next(self) -> str | None:
        """What goes wrong with the next request."""
        with self._lock:
            self.requests += 1
            draw = self._random.random()
            for kind, rate in self.rates.items():
                if draw < rate:
                    return kind
                draw -= rate
            return None

    def count(self, kind: str) -> None:
        with self._lock:
            self.happened[kind] += 1

    def coin(self) -> bool:
        with self._lock:
            return self._random.random() < 0.5


@contextmanager
def faulty_proxy(endpoint: str, faults: Faults) -> Iterator[str]:
    """Address of a proxy that passes requests on to `endpoint`."""
    target = urlsplit(endpoint).netloc

    class Handler(_Handler):
        pass

    Handler.target, Handler.faults = target, faults
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    faults: Faults

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.next()
        if fault == "busy":
            self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
            self.faults.count("busy")
            return
        if fault in ("closed", "stalled") and self.faults.coin():
            self._leave(fault)
            return
        status, headers, answer = self._ask(body)
        if fault in ("closed", "stalled"):
            self._leave(fault)
        elif fault in ("truncated", "corrupted") and self.command == "GET" and len(answer) >= LARGE:
            self._damage(fault, status, headers, answer)
        else:
            self._answer(status, headers, answer)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            # The Host header is signed: it stays the proxy's.
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _damage(self, fault: str, status: int, headers: dict[str, str], answer: bytes) -> None:
        self.faults.count(fault)
        if fault == "corrupted":
            damaged = bytearray(answer)
            damaged[len(damaged) // 3] ^= 4
            self._answer(status, headers, bytes(damaged))
            return
        self._send_head(status, headers, len(answer))
        self.wfile.write(answer[: len(answer) // 2])
        self.close_connection = True

    def _leave(self, fault: str) -> None:
        self.faults.count(fault)
        if fault == "stalled":
            time.sleep(self.faults.stall_seconds)
        self.close_connection = True

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        length = int(headers.get("Content-Length") or 0) if self.command == "HEAD" else len(body)
        self._send_head(status, headers, length)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, BrokenPipeError, TimeoutError):
            self.close_connection = True
