"""A web server on a folder, that can send parts of files, and can be told to misbehave."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = b'<html><a href="secret.tif">secret.tif</a></html>'


class WebServer(ThreadingHTTPServer):
    """What it serves, and how.

    Attributes:
        folder: whose files are served.
        sends_parts: requests for a part are answered with one.
        answers: status codes for the next requests of a path, in order, in place of an answer; the last one stays.
        redirects: where a path leads.
        missing: status of what is not there.
        headers: further ones in all answers.
        lies: what is changed in answers: "shifted" parts, "short" parts, "cut" bodies, "unnamed" parts.
        delay: seconds before an answer.
        requests: path and range of all that was asked for.

    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.sends_parts, self.missing, self.lies, self.delay = True, 404, "", 0.0
        self.answers: dict[str, list[int]] = {}
        self.redirects: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that has seen enough goes without a word, which is no fault of the server's."""

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        path, wanted = unquote(urlsplit(self.path).path), self.headers.get("Range")
        self.server.requests.append((path, wanted))
        time.sleep(self.server.delay)
        if planned := self.server.answers.get(path):
            status = planned.pop(0) if len(planned) > 1 else planned[0]
            if status != 200:
                return self._send(status, b"")
        if (target := self.server.redirects.get(path)) is not None:
            return self._send(302, b"", {"Location": target})
        file = self.server.folder / path.lstrip("/")
        if file.is_dir():
            return self._send(200, HTML, {"Content-Type": "text/html"})
        if not file.is_file():
            return self._send(self.server.missing, b"")
        self._send_file(file.read_bytes(), wanted, f'"{file.stat().st_mtime_ns}"')
        return None

    def _send_file(self, content: bytes, wanted: str | None, tag: str) -> None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        if match is None or not self.server.sends_parts:
            return self._send(200, content, {"ETag": tag})
        if match[1]:
            start, stop = int(match[1]), min(int(match[2] or len(content)) + 1, len(content))
        else:
            start, stop = max(0, len(content) - int(match[2])), len(content)
        if start >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}", "ETag": tag})
        if self.server.lies == "shifted" and start:
            start, stop = start - 1, stop - 1
        if self.server.lies == "short" and stop - start > 1:
            stop -= 1
        told = {} if self.server.lies == "unnamed" else {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        return self._send(206, content[start:stop], {"ETag": tag, **told})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), **self.server.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.lies == "cut" and len(content) > 1:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """Hold a server on `folder` while the body runs."""
    with WebServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
