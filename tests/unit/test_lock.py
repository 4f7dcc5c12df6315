"""constraints.txt is the one place where versions are decided: it is complete, and what is installed agrees with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]

# Installs the others, is needed by none of them.
INSTALLER = "pip"

# Extras that make setup does not install, with all that only they need.
ON_DEMAND = {"docs"}

# Builds of torch with CUDA bring these and pin them themselves; builds without do not know them.
OF_TORCH = re.compile(r"nvidia-.*|cuda-.*|triton|pytorch-triton.*")


def requirements(without: Collection[str] = ()) -> list[Requirement]:
    """What pyproject.toml asks for, all extras but those `without` included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [texts for name, texts in project["optional-dependencies"].items() if name not in without]
    found = [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]
    return [requirement for requirement in found if requirement.name != "ps3d"]  # extras of its own


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if text := line.partition("#")[0].strip():
            requirement = Requirement(text)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{text}: pinned with =="
            assert not requirement.marker, f"{text}: one pin for all"
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def installed() -> Iterator[tuple[str, Version]]:
    """Every installed distribution that ps3d needs, directly or not."""
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements(without=ON_DEMAND)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            assert OF_TORCH.fullmatch(name), f"{name} is needed and not installed; run make setup"
            continue
        yield name, Version(found.version)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in found.requires or ()]


def test_pins_satisfy_pyproject() -> None:
    pinned = pins()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement}: pinned to {version}; make lock"
        )


def test_pins_name_releases_not_builds() -> None:
    pinned = pins()
    assert not [name for name, version in pinned.items() if version.local]
    assert not [name for name in pinned if OF_TORCH.fullmatch(name)]


def test_the_hook_runs_the_locked_linter() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"ruff-pre-commit\n    rev: v{pins()['ruff']}\n" in hooks


def test_everything_installed_is_pinned_and_agrees() -> None:
    pinned = pins()
    drift = {}
    for name, version in installed():
        if name != INSTALLER and not OF_TORCH.fullmatch(name) and str(pinned.get(name)) != version.public:
            drift[name] = f"{version.public} installed, {pinned.get(name)} pinned"
    assert not drift, "install with `make setup`, or `make lock` after a change of pyproject.toml"
