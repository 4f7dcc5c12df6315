"""What an installation lacks is said in one line, before anything is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ps3d_core
from ps3d_app.flows.command import outcome
from ps3d_app.flows.command.cli import main
from ps3d_app.flows.command.commands import COMMANDS
from ps3d_core import extras
from ps3d_core.extras import EXTRAS, lacking, of_missing, require


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if the package were not installed."""
    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else found(name))
    monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("words", "package", "said"),
    [
        ("segment data results --direct", "torch", "torch is not installed; pip install 'ps3d[predict]'\n"),
        ("segment data results", "prefect", "prefect is not installed; pip install 'ps3d[flow]', or add --direct\n"),
        ("demo --direct", "torch", "torch is not installed; pip install 'ps3d[predict]'\n"),
        ("train prepared model", "nnunetv2", "nnunetv2 is not installed; pip install 'ps3d[train]'\n"),
        ("up", "cryptography", "cryptography is not installed; pip install 'ps3d[stack]'\n"),
    ],
)
def test_a_command_says_what_to_install(
    words: str,
    package: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    without(monkeypatch, package)
    assert main(words.split()) == outcome.USAGE
    assert capsys.readouterr().err == f"ps3d: error: {said}"
    assert not list(tmp_path.iterdir())


def test_from_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("segment", "ps3d_core.api.segmentation"):
        monkeypatch.delitem(vars(ps3d_core), name, raising=False)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ps3d_core.plan", None)
    with pytest.raises(ModuleNotFoundError, match=r"^import of ps3d_core\.plan halted"):
        _ = ps3d_core.segment  # not an optional package: said as it is
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    monkeypatch.setattr(ps3d_core, "import_module", lambda _: (_ for _ in ()).throw(error))
    with pytest.raises(
        ModuleNotFoundError, match=r"^ps3d\.segment: torch is not installed; pip install 'ps3d\[predict\]'"
    ):
        _ = ps3d_core.segment


def test_only_optional_packages_are_explained() -> None:
    assert of_missing(ModuleNotFoundError("No module named 'flows'", name="flows")) is None
    assert of_missing(ValueError("torch")) is None
    assert str(of_missing(ModuleNotFoundError("x", name="distributed.client"))) == str(lacking("distributed"))
    require(*EXTRAS)  # a development environment has all


def test_what_commands_need_is_optional() -> None:
    assert {package for command in COMMANDS.values() for package in getattr(command, "NEEDS", ())} <= set(EXTRAS)
