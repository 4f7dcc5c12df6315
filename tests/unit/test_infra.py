"""compose.yaml and the Dockerfile name only what exists: programs, modules, variables. Docker itself is not run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "infra/Dockerfile").read_text()
EXAMPLE = (ROOT / "infra/env.example").read_text()


def test_ports_are_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_comes_from_outside_and_is_in_the_example() -> None:
    text = (ROOT / "infra/compose.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text))
    assert used == set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))
    for name in used:
        default = re.search(rf"^{name}=(.*)$", EXAMPLE, re.MULTILINE)
        assert default is not None
        assert name.endswith("_PORT") or (default[1] == "" and f"${{{name}:?" in text and f"${{{name}:-" not in text)


def test_prefects_variables_are_settings_of_prefect() -> None:
    names = {name for service in SERVICES.values() for name in service["environment"] if name.startswith("PREFECT_")}
    names |= set(re.findall(r"\b(PREFECT_\w+)=", DOCKERFILE))
    code = "from prefect.settings import Settings\nfrom prefect.settings.legacy import _get_settings_fields\n"
    code += "print(*_get_settings_fields(Settings))"
    known = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert names - set(known) == set()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_commands_exist(name: str) -> None:
    program, *arguments = SERVICES[name]["command"]
    beside = Path(sys.executable).parent / program
    assert beside.exists()
    if program == "python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1])
    else:
        flags = {argument.split("=")[0].lstrip("-") for argument in arguments if argument.startswith("-")}
        words = [argument for argument in arguments if not argument.startswith("-")]
        ask = [beside, "help", words[0]] if program == "weed" else [beside, *words[:2], "--help"]
        shown = subprocess.run(ask, capture_output=True, text=True, env={"COLUMNS": "200", "HOME": "/tmp"})
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout + shown.stderr)
        assert not [flag for flag in flags if f"-{flag}" not in text]


def test_what_starts_after_what() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_images_are_targets_that_are_locked_and_not_root() -> None:
    targets = re.findall(r"^FROM base AS (\w+)$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in targets} == {"cpu", "cuda"}
    for _, body in targets:
        assert "--constraint constraints.txt" in body
        assert "'.[dask,train]'" in body  # what the deployments need
        assert "\nUSER ps3d\n" in body
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == {"cpu", "cuda"}
    ignored = (ROOT / ".dockerignore").read_text()
    for copied in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for path in copied.split():
            assert (ROOT / path).exists()
            assert f"!{path}\n" in ignored
