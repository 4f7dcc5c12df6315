"""The local server lives exactly as long as somebody uses it, however its users end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows.cli import main
from flows.local_server import Api, running_url, server_folder
from flows.locks import is_locked
from ps3d_core.errors import InputError
from tests.orchestration.stack_process import ROOT, wait_until

USER = (
    "import sys, signal\n"
    "from flows.local_server import local_server\n"
    "with local_server() as url:\n"
    "    print(url, flush=True)\n"
    "    signal.pause()\n"
)


def start_user(home: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER],
        cwd=ROOT,
        env=os.environ | {"PS3D_HOME": str(home)},
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
    from flows.local_server import api

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/api: no answer"), api():
        raise AssertionError
