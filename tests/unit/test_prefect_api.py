"""A Prefect API is asked with key and token, and one that is silent is not waited for."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi, connect

KEY, TOKEN = "user:password", "token"


class Guarded(BaseHTTPRequestHandler):
    """An API with a key and, for what may change something, a token for each client; answers pages of 200 numbers."""

    times = itertools.count()

    def do_GET(self) -> None:
        self._answer({"token": TOKEN} if self.path.startswith("/api/csrf-token?client=") else {"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("busy") and next(self.times) < 2:
            self.send_error(503)
            return
        if self.headers["Prefect-Csrf-Token"] != TOKEN:
            self.send_error(403)
            return
        self._answer([{"number": number} for number in range(450)][body.get("offset", 0) :][: body.get("limit", 1)])

    def _answer(self, content: object) -> None:
        if self.headers["Authorization"] != f"Basic {base64.b64encode(KEY.encode()).decode()}":
            self.send_error(401)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_key_token_and_pages(url: str) -> None:
    api = PrefectApi(url, KEY)
    assert api.get("/health") == {"path": "/api/health"}
    assert [item["number"] for item in api.all("/things/filter", {})] == list(range(450))


def test_a_busy_server_is_asked_again(url: str) -> None:
    assert PrefectApi(url, KEY).post("/things/filter", {"busy": True}) == [{"number": 0}]


def test_the_wrong_key_is_said(url: str) -> None:
    with pytest.raises(NoAnswerError, match=r"/health: HTTP Error 401"):
        PrefectApi(url, "other").get("/health")


def test_silence_is_no_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with pytest.raises(NoAnswerError, match=f"{url}: no answer"):
            PrefectApi(url, seconds=0.1).get("/health")


def test_nobody_there_is_no_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening, so that nobody else does meanwhile
        with pytest.raises(NoAnswerError, match="connection refused"):
            PrefectApi(f"http://127.0.0.1:{taken.getsockname()[1]}/api").post("/things/filter", {})


def test_an_address_that_is_none() -> None:
    with pytest.raises(NoAnswerError, match=r"file:///etc: is no address of a Prefect API"):
        connect("file:///etc")
