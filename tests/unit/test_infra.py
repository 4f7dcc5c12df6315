"""compose.yaml and the Dockerfile name only what exists, and lock their containers in. Docker itself is not run."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import stat
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from ps3d_app.flows.service.stack.healthy import answers as healthy
from ps3d_app.flows.service.stack.healthy import beats

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra/compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "infra/Dockerfile").read_text()
COMMANDS = [SERVICES[name]["command"] for name in SERVICES if name != "postgres"]
COMMANDS += [
    service["healthcheck"]["test"][1:]
    for service in SERVICES.values()
    if service.get("healthcheck", {}).get("test", [""])[1:2] == ["python"]
]
README = (ROOT / "infra/README.md").read_text()
COMMANDS += [shlex.split(line) for line in re.findall(r"^    (python -P -m .*)$", README, re.MULTILINE)]
EXAMPLE = (ROOT / "infra/env.example").read_text()


def test_ports_are_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_comes_from_outside_and_everything_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)(:[?-])([^}]*)\}", TEXT))
    example = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert {name for name, _, _ in used} == set(example)
    for name, how, default in used:
        secret = name.endswith(("_PASSWORD", "_KEY"))
        assert how == (":?" if secret else ":-")
        assert example[name] == ("" if secret else default)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_an_argument(name: str) -> None:
    words = [*SERVICES[name].get("command", []), *SERVICES[name].get("healthcheck", {}).get("test", [])]
    assert not [word for word in words if "$" in word]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_in(name: str) -> None:
    service = SERVICES[name]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["read_only"]
    assert any(place.startswith("/tmp:") for place in service["tmpfs"])
    assert service["pids_limit"] > 0
    assert re.match(r"\$\{PS3D_\w+_MEMORY:-\d+g\}$", service["mem_limit"])
    assert "healthcheck" in service or service["restart"] == "on-failure"  # which ends
    if name == "postgres":
        assert service["user"] == "postgres"
    else:
        assert "user" not in service  # that of the image


def test_servers_ask_for_what_clients_have() -> None:
    key = SERVICES["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    keys = [SERVICES["s3"]["environment"][name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    for name in ("bootstrap", "worker-cpu", "worker-gpu"):
        environment = SERVICES[name]["environment"]
        assert environment["PREFECT_API_AUTH_STRING"] == key
        assert [environment[variable] for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")] == keys


def test_base_images_are_named_by_digest() -> None:
    by_digest = r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}"
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(by_digest, base)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}", "base", "base"]
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["args"] == {"PYTHON_IMAGE": f"${{PS3D_PYTHON_IMAGE:-{base}}}"}
        else:
            assert re.fullmatch(rf"\$\{{PS3D_\w+:-{by_digest}\}}", service["image"])


def test_secrets_are_made_once_and_for_one_reader(tmp_path: Path) -> None:
    module = runpy.run_path(str(ROOT / "infra/make_env.py"))
    assert module["main"](tmp_path) == 0
    made = tmp_path / ".env"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    text = made.read_text()
    example, filled = (dict(re.findall(r"^(\w+)=(.*)$", of, re.MULTILINE)) for of in (EXAMPLE, text))
    assert set(filled) == set(example)
    new = [filled[name] for name, value in example.items() if not value]
    assert len(set(new)) == len(new) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in new)
    assert {name: value for name, value in filled.items() if example[name]} == {n: v for n, v in example.items() if v}
    assert module["main"](tmp_path) == 2
    assert made.read_text() == text


def test_prefects_variables_are_settings_of_prefect() -> None:
    names = {name for service in SERVICES.values() for name in service["environment"] if name.startswith("PREFECT_")}
    names |= set(re.findall(r"\b(PREFECT_\w+)=", DOCKERFILE + README))
    code = "from prefect.settings import Settings\nfrom prefect.settings.legacy import _get_settings_fields\n"
    code += "print(*_get_settings_fields(Settings))"
    known = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert names - set(known) == set()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[3:5]))
def test_commands_exist(words: list[str]) -> None:
    python, safe_path, flag, module, *arguments = words
    assert (python, safe_path, flag) == ("python", "-P", "-m")
    assert importlib.util.find_spec(module)
    if module not in ("prefect", "ps3d_app.flows.service.stack.s3_process"):
        assert not [argument for argument in arguments if argument.startswith("-")]
        return
    flags = {argument.split("=")[0] for argument in arguments if argument.startswith("-")}
    ask = [module, *arguments[:2], "--help"] if module == "prefect" else [module, "--help"]
    environment = {"COLUMNS": "200", "HOME": "/tmp", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run([sys.executable, "-P", "-m", *ask], capture_output=True, text=True, env=environment)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout + shown.stderr)
    assert not [flag for flag in flags if flag not in text]


@pytest.mark.parametrize(("expected", "status"), [(403, 0), (200, 1)])
def test_health_is_the_status_that_is_expected(expected: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert healthy(url, expected) == status
        server.shutdown()
        thread.join()
    assert healthy(url, expected) == 1  # nobody listens
    assert url in capsys.readouterr().out


def test_a_heartbeat_that_is_old_or_absent_is_not_well(tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    assert beats(str(heartbeat)) == 1
    heartbeat.touch()
    assert beats(str(heartbeat)) == 0
    os.utime(heartbeat, (0, 0))
    assert beats(str(heartbeat)) == 1


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
        assert "'.[all]'" in body  # what the deployments need
        assert "\nUSER ps3d\n" in body
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == {"cpu", "cuda"}
    ignored = (ROOT / ".dockerignore").read_text()
    for copied in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for path in copied.split():
            assert (ROOT / path).exists()
            assert f"!{path}\n" in ignored
