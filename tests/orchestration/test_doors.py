"""Nobody gets in without a key: every port that a stack opens, found from its processes, and every file it keeps."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import prefect
import psutil
import pytest

from ps3d_core.store.location import Location
from tests.orchestration.neighbour import (
    NOBODY,
    answers,
    enters_by_websocket,
    files_below,
    files_open_to_others,
    listening,
    open_sockets,
    speaks_grpc,
)
from tests.orchestration.stack_process import ROOT, STORE, Up, asked, free_port

CONTENT = b"what is scanned here"
OBJECT = "data/a b.tif"
NAMES = ("scans/data/a%20b.tif", "scans/", "scans/made", "")
STORES = [f"/{folder}{name}" for folder in ("", "buckets/") for name in NAMES]
INNER = ["/dir/status", "/dir/assign", "/dir/lookup?volumeId=1", "/vol/grow?count=1", "/vol/vacuum", "/submit"]
INNER += ["/cluster/status", "/col/delete?collection=scans", "/status", "/stats/disk", "/metrics", "/debug/pprof/heap"]
INNER += ["/1,00000000", "/ui/index.html", "/stats/counter", "/heartbeat", "/_cat/indices", "/v1/config", "/iam"]
PREFECT = [f"/api/{kind}/filter" for kind in ("flow_runs", "task_runs", "logs", "artifacts", "deployments", "events")]
PREFECT += ["/api/admin/settings", "/api/admin/database/clear", "/api/csrf-token?client=me", "/api/flow_runs/"]
PREFECT += ["/api/openapi.json", "/api/docs", "/docs", "/openapi.json", "/redoc", "/api/health/../flow_runs/filter"]
SOCKETS = ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled", "work_pools/cpu/workers/connect"]


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """A stack whose home is in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="ps3d-doors-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        for place in (home.parent, home):
            place.chmod(0o755)
        running = Up(home, "--s3-port", str(free_port()))
        try:
            running.await_ready()
            with pytest.MonkeyPatch.context() as patch:
                for name, value in running.keys.items():
                    patch.setenv(name, value)
                (Location.parse(STORE) / OBJECT).write_bytes(CONTENT)
                yield running
        finally:
            running.kill()


def family(up: Up) -> list[psutil.Process]:
    return [psutil.Process(up.process.pid), *up.family()]


def test_no_port_lets_anybody_in(up: Up, tmp_path: Path) -> None:
    made = tmp_path / "made"
    harm = {"name": "mine", "job_variables": {"command": f"touch {made}"}, "state": {"type": "SCHEDULED"}}
    with up.client() as client:
        deployments = client.read_deployments()
    paths = [*STORES, *INNER, *PREFECT, *(f"/api/deployments/{each.id}/create_flow_run" for each in deployments[:2])]
    public = (Path(prefect.__ui_static_subpath__) / "index.html").read_bytes()  # the page that asks for the key
    before = sorted(map(str, Location.parse(STORE).find()))
    found = listening(family(up))
    assert {ip for ip, _ in found} == {"127.0.0.1"}
    assert len(found) >= 2
    heard, entered = 0, []
    for _, port in found:
        for answer in answers(port, paths, harm):
            heard += 1
            if CONTENT in answer.body or (answer.lets_in and answer.body != public):
                entered.append(f"{answer.question}: {answer.status} {answer.body[:80]!r}")
        if speaks_grpc(port):
            entered.append(f"gRPC at {port}")
        for path, token in product(SOCKETS, (None, "", "ps3d:wrong")):
            if enters_by_websocket(port, f"/api/{path}", token):
                entered.append(f"websocket {path} at {port} with {token!r}")
    assert not entered, "\n".join(entered)
    assert heard > 2 * len(paths)
    assert open_sockets(family(up)) == []
    assert sorted(map(str, Location.parse(STORE).find())) == before
    assert (Location.parse(STORE) / OBJECT).read_bytes() == CONTENT
    with up.client() as client:
        assert not [run for run in client.read_flow_runs() if (run.job_variables or {}).get("command")]
    assert not made.exists()


def test_the_key_opens_what_is_closed_without(up: Up) -> None:
    port = int(up.ui.rpartition(":")[2])
    key = up.api["PREFECT_API_AUTH_STRING"]
    assert (up.home / "prefect" / "password").read_text() == f"{key}\n"
    assert len(key) > 40
    assert not enters_by_websocket(port, "/api/logs/out", "ps3d:wrong")
    assert enters_by_websocket(port, "/api/logs/out", key)
    command = [sys.executable, "-m", "prefect", "deployment", "ls"]
    own = {"PATH": os.environ["PATH"], "HOME": str(up.home), "COLUMNS": "200"}
    listed = subprocess.run(command, env=own | up.api, cwd=up.home, capture_output=True, text=True)
    assert "segment-scan/segment-scan" in listed.stdout, listed.stderr
    printed = "\n".join(up.lines)
    assert f"{up.home}/prefect/password" in printed
    assert key not in printed


def test_no_file_and_no_command_line_shows_anything(up: Up) -> None:
    secrets = [up.api["PREFECT_API_AUTH_STRING"], up.keys["AWS_SECRET_ACCESS_KEY"]]
    for process in family(up):
        assert not [secret for secret in secrets if secret in " ".join(asked(process.cmdline) or [])]
    assert files_open_to_others(up.home) == []
    for file in (up.home / "prefect" / "password", up.home / "prefect" / "env", up.home / "s3" / "env"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for file in files_below(up.home):
        if file.name not in ("password", "env") and file.parent.name != "s3":
            assert secrets[0].encode() not in (asked(file.read_bytes) or b""), file
    if os.getuid() != 0 or shutil.which("find") is None:
        pytest.skip("only root can look with the eyes of another user, and find has to be installed")
    seen = subprocess.run(
        ["find", str(up.home), "-type", "f", "-readable"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd=ROOT.root,
    )
    assert seen.stdout == ""
