"""The local server lives exactly as long as somebody uses it, however its users end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.request import Request

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_app.flows.machine.locks import is_locked
from ps3d_app.flows.service.local_server import Api, running_url, server_folder
from ps3d_app.flows.service.server_key import kept_key
from ps3d_core.errors import InputError
from tests.orchestration.stack_process import ROOT, wait_until

USER = (
    "import sys, signal\n"
    "from ps3d_app.flows.service.local_server import local_server\n"
    "with local_server() as url:\n"
    "    print(url, flush=True)\n"
    "    signal.pause()\n"
)


# A command that connects, as far as it comes.
COMMAND = (
    "from ps3d_app.flows.service.local_server import api\n"
    "from ps3d_core.errors import InputError\n"
    "try:\n"
    "    with api() as connected:\n"
    "        print('connected', connected.ui)\n"
    "except InputError as error:\n"
    "    print(error)\n"
)


def start_user(home: Path, **settings: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER],
        cwd=ROOT,
        env=os.environ | {"PS3D_HOME": str(home), **settings},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    with process:
        process.send_signal(signal.SIGKILL)


def test_server_is_shared_and_outlives_the_kill_of_whoever_started_it(tmp_path: Path) -> None:
    lock = tmp_path / "prefect" / "server.lock"
    first, url = start_user(tmp_path)
    second, same = start_user(tmp_path)
    assert url == same
    assert url.startswith("http://127.0.0.1:")

    kill(first)
    time.sleep(1)
    with urllib.request.urlopen(f"{url}/health") as answer:
        assert answer.status == 200

    kill(second)
    wait_until(lambda: not is_locked(lock))
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health")
    assert (tmp_path / "prefect" / "prefect.db").exists()


def test_a_server_whose_folder_is_gone_leaves(tmp_path: Path) -> None:
    user, url = start_user(tmp_path / "home")
    (tmp_path / "home").rename(tmp_path / "elsewhere")
    kill(user)
    wait_until(lambda: not is_locked(tmp_path / "elsewhere" / "prefect" / "server.lock"))
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health")


def test_status_lists_the_runs(server: Api, capsys: pytest.CaptureFixture[str]) -> None:
    from prefect import flow

    @flow(name="seen", flow_run_name="a run to be seen")
    def seen() -> None:
        """Nothing."""

    seen()
    assert running_url() == server.url
    assert main(["status"]) == 0
    text = capsys.readouterr().out
    assert server.url in text
    assert str(server_folder()) in text
    assert "Completed  a run to be seen" in text


def test_a_configured_server_that_is_not_there_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from ps3d_app.flows.service.local_server import api

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/api: no answer"), api():
        raise AssertionError


def said_with(url: str, key: str | None) -> str:
    """What a command says that somebody configured for the API at `url`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    configured = {"PREFECT_API_URL": url} | ({"PREFECT_API_AUTH_STRING": key} if key is not None else {})
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=ROOT, env=own | configured, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_a_key_that_is_missing_or_wrong_is_bad_input(server: Api) -> None:
    url = server.url.replace("127.0.0.1", "localhost")  # a name that is not ours: as a server of somebody else's
    refused = f"PREFECT_API_URL {url}: refused (status 401; PREFECT_API_AUTH_STRING is"
    advice = "; set PREFECT_API_AUTH_STRING to the user:password of that server, "
    assert said_with(url, None).startswith(f"{refused} not set){advice}")
    assert said_with(url, "ps3d:wrong").startswith(f"{refused} set){advice}")
    assert said_with(url, kept_key(server_folder())) == f"connected {url.removesuffix('/api')}\n"
    assert said_with(server.url, None) == f"connected {server.ui}\n"  # our own is known


class _SomebodyElse(BaseHTTPRequestHandler):
    """A server that is well, takes no key, and notes those that it was offered."""

    offered: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer."""
        self.offered.append(self.headers.get("Authorization", ""))
        self.send_response(200 if self.path == "/api/health" else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.usefixtures("server")
def test_our_key_is_not_offered_to_another_server() -> None:
    with HTTPServer(("127.0.0.1", 0), _SomebodyElse) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        assert "refused (status 401" in said_with(f"http://127.0.0.1:{other.server_port}/api", None)
        other.shutdown()
    assert len(_SomebodyElse.offered) > 1
    assert set(_SomebodyElse.offered) == {""}


def test_a_server_behind_a_proxy_is_found_at_its_paths(tmp_path: Path) -> None:
    paths = {"PREFECT_SERVER_API_BASE_PATH": "/ct/api", "PREFECT_SERVER_UI_SERVE_BASE": "/ct/pages"}
    user, url = start_user(tmp_path, **paths)
    try:
        assert url.endswith("/ct/api")
        ui = url.replace("/ct/api", "/ct/pages")
        page = Request(f"{ui}/dashboard", headers={"Accept": "text/html"})
        with urllib.request.urlopen(f"{url}/health") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(page) as answer:
            assert b'src="/ct/pages/assets/' in answer.read()
        assert f"export PREFECT_UI_URL={ui}\n" in (tmp_path / "prefect" / "env").read_text()
    finally:
        kill(user)
    wait_until(lambda: not is_locked(tmp_path / "prefect" / "server.lock"))


def test_nothing_is_reported_to_the_makers_of_prefect(tmp_path: Path) -> None:
    told_to_be_quiet = ("DO_NOT_TRACK", "CI")
    own = {name: value for name, value in os.environ.items() if name not in told_to_be_quiet}
    master, slave = pty.openpty()  # its notice is for terminals only
    done = subprocess.run(
        [sys.executable, "-c", "import ps3d_app.flows, prefect"],
        cwd=ROOT,
        env=own | {"PREFECT_HOME": str(tmp_path)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    assert done.returncode == 0
    os.write(slave, b"END\n")
    assert os.read(master, 10000) == b"END\r\n"
    os.close(slave)
    os.close(master)
    assert not (tmp_path / ".sdk_telemetry").exists()
