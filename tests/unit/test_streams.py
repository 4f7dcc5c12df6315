"""Standard streams that are full, closed or cut off end a command in one line or none, never in a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = "ps3d: error: the output cannot be written (no space left on device)\n"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line in which PS3D stands for the program."""
    line = command.replace("PS3D", f"{sys.executable} -P -m ps3d_app.flows.command.cli")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    variables.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", ["model info", "--help", "model import --help"])
def test_a_full_disk_is_one_line(arguments: str) -> None:
    done = shell(f"PS3D {arguments} > /dev/full")
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("PS3D model info >&-", 0),
        ("PS3D --help >&- 2>&-", 0),
        ("PS3D model info nowhere 2>&-", 2),
        ("PS3D segmnt 2>&- >&-", 2),
        ("PS3D model info nowhere 2>/dev/full", 2),
    ],
)
def test_closed_streams_are_nothing_to_speak_of(command: str, status: int) -> None:
    done = shell(command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_reader_that_has_gone_is_no_error() -> None:
    assert shell("PS3D --help | true").stderr == ""
    assert shell("PS3D model info --json | head -c 1").stderr == ""


def test_files_do_not_take_the_place_of_closed_streams(tmp_path: Path) -> None:
    where = f"{tmp_path}/data --name a --shape 16 16 16 --particle-size-voxels 6 --seed 0"
    assert shell(f"PS3D phantom {where} >&- 2>&- <&-", PS3D_HOME=str(tmp_path / "home")).returncode == 0
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"image   " not in file.read_bytes()


def test_an_interrupt_while_python_imports_is_one_line() -> None:
    code = (
        "import builtins, ps3d_app.flows.command.cli\n"
        "normal = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'ps3d_app.flows.command.command_line':\n"
        "        raise KeyboardInterrupt\n"
        "    return normal(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "raise SystemExit(ps3d_app.flows.command.cli.main(['status']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "ps3d: error: interrupted\n"
