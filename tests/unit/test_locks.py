"""Locks of files, and how other programs find our modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ps3d_app.flows.machine import locks
from ps3d_app.flows.machine.locks import exclusive, exclusive_if_free, is_locked, shared
from ps3d_app.flows.machine.module_path import module_path


def test_a_holder_is_seen(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    for hold in (exclusive, shared):
        with hold(lock):
            assert is_locked(lock)
        assert not is_locked(lock)


def test_another_look_is_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = exclusive_if_free(tmp_path / "lock")
    assert look.__enter__()
    ends = SimpleNamespace(sleep=lambda _: look.__exit__(None, None, None))
    monkeypatch.setattr(locks, "time", ends)  # not the sleep of other threads
    assert not is_locked(tmp_path / "lock")


def test_another_program_finds_our_modules_and_none_of_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('a module of the user')\n")
    (tmp_path / "program.py").write_text(
        "import os, subprocess, sys\n"
        "from ps3d_app.flows.machine.module_path import module_path\n"
        "code = 'import random, ps3d_app.flows, ps3d_core; print(*sys.path[1:])'\n"
        "print(subprocess.run([sys.executable, '-P', '-c', 'import sys;' + code], capture_output=True, text=True,"
        " env={**os.environ, 'PYTHONPATH': module_path()}))\n"
    )
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True)
    assert "returncode=0" in done.stdout, done
    assert str(tmp_path) not in done.stdout.partition("stdout=")[2]


def test_no_room_of_flows_is_a_package_of_its_own() -> None:
    for entry in module_path().split(":"):
        assert not (Path(entry) / "service" / "stack").is_dir(), entry
