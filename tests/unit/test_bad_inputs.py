"""Bad input of every kind: status 2, one line whose advice can be followed, and nothing left behind."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_app.flows.command.command_line import parser_of
from ps3d_app.flows.command.commands import COMMANDS
from tests.unit.bad_inputs import BAD_INPUTS, BadInput
from tests.unit.workspace import copied, listing, make_workspace

FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    make_workspace(folder)
    return folder


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input(
    bad: BadInput,
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(copied(workspace, tmp_path / "here"))
    bad.spoil(tmp_path / "here")
    before = listing(tmp_path / "here")
    status = main(shlex.split(bad.command))
    err = capfd.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("ps3d: error: ")]
    assert (status, len(errors)) == (2, 1), err
    assert err.endswith(f"{errors[0]}\n")
    assert "Traceback" not in err
    assert "traceback in" not in err
    assert set(FLAG.findall(errors[0])) <= flags_of(bad.command)
    assert "; " in errors[0]
    assert listing(tmp_path / "here") == before


def flags_of(command: str) -> set[str]:
    """The options of the command that is given, and its help."""
    words = command.split()
    name = next(name for name in COMMANDS if name.split() == words[: len(name.split())])
    return set(parser_of(name, COMMANDS[name])._option_string_actions)
