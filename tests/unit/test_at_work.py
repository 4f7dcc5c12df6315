"""Files of runs: held while a process works on them, and left behind by one that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ps3d_app.flows.service import at_work

API = "http://server.example:4200/api"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PS3D_HOME", str(tmp_path))
    return tmp_path


def hold_in_another_process(run: str) -> subprocess.Popen[str]:
    code = (
        "from ps3d_app.flows.service import at_work\n"
        f"file = at_work.hold({run!r}, {API!r})\nprint('held', flush=True)\n"
        "import time; time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_lives_as_long_as_its_process(home: Path) -> None:
    with hold_in_another_process("one") as process:
        assert at_work.lives("one") is True
        assert at_work.left_behind(API) == []
        process.kill()
    assert at_work.lives("one") is False
    assert at_work.left_behind(API) == ["one"]
    at_work.forget("one")
    assert list((home / "running").iterdir()) == []


def test_what_nobody_here_worked_on_is_not_known() -> None:
    assert at_work.lives("another") is None


def test_runs_of_another_server_or_machine_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work.hold("one", API).close()
    assert at_work.left_behind("http://other.example/api") == []
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert at_work.left_behind(API) == []


def test_a_file_that_cannot_be_written_leaves_nothing(home: Path) -> None:
    (home / "running" / "one.json").mkdir(parents=True)  # nothing can take the place of a folder
    with pytest.raises(OSError, match="directory"):
        at_work.hold("one", API)
    assert [path.name for path in (home / "running").iterdir()] == ["one.json"]


def test_a_damaged_file_is_nobodys(home: Path) -> None:
    at_work.hold("one", API).close()
    (home / "running" / "one.json").write_text("{")
    assert at_work.left_behind(API) == []
