"""What reaches the local Prefect server, and who reaches it with which key."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.service.local_server import client_variables
from ps3d_app.flows.service.server_key import (
    environment_file,
    kept_key,
    key_to_serve_with,
    password_file,
    write_environment,
)
from ps3d_app.flows.service.server_settings import api_url, server_environment, ui_url

SETTINGS = """
import json
from prefect.settings import get_current_settings
server = get_current_settings().server
print(json.dumps({
    "api": server.api.model_dump(mode="json"),
    "key": server.api.auth_string.get_secret_value(),
    "ui": server.ui.model_dump(mode="json"),
    "forgets": server.services.db_vacuum.enabled,
    "database": server.database.connection_url.get_secret_value(),
    "reports": server.analytics_enabled,
}, default=sorted))
"""


def settings_of_server(folder: Path) -> dict[str, Any]:
    """What Prefect makes of the environment of a server on port 4210."""
    environment = server_environment(folder, 4210, "ps3d:key")
    done = subprocess.run([sys.executable, "-c", SETTINGS], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_server_is_shut_to_pages_of_others_and_reports_nothing(tmp_path: Path) -> None:
    found = settings_of_server(tmp_path)
    assert found["key"] == "ps3d:key"
    assert found["api"]["cors_allowed_origins"] == "http://127.0.0.1:4210"
    assert found["api"]["csrf_protection_enabled"]
    assert found["ui"]["api_url"] == "/api"
    assert found["forgets"]
    assert not found["ui"]["v2_enabled"]
    assert not found["reports"]
    assert found["database"] == f"sqlite+aiosqlite:///{tmp_path}/prefect.db"


def test_settings_of_the_operator_are_kept_but_for_another_server_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "https://ct.example",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
        "PREFECT_SERVER_API_BASE_PATH": "ct/api/",
        "PREFECT_UI_SERVE_BASE": "/ct",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "false",
        "PREFECT_SERVER_API_PORT": "4200",
        "PREFECT_SERVER_API_HOST": "0.0.0.0",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://x:y@other/z",
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://x:y@other/z",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "PREFECT_API_KEY": "of-another-server",
    }.items():
        monkeypatch.setenv(name, value)
    found = settings_of_server(tmp_path)
    assert found["api"]["cors_allowed_origins"] == "https://ct.example"
    assert not found["api"]["csrf_protection_enabled"]
    assert found["api"]["base_path"] == found["ui"]["api_url"] == "/ct/api"
    assert found["ui"]["serve_base"] == "/ct"
    assert found["ui"]["static_directory"].startswith(str(tmp_path))
    assert not found["forgets"]
    assert (found["api"]["port"], found["api"]["host"]) == (4200, "127.0.0.1")  # Prefect's own; the port is an argument
    assert found["database"] == f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    assert not found["reports"]
    assert "of-another-server" not in server_environment(tmp_path, 4210, "ps3d:key").values()
    assert api_url(4210) == "http://127.0.0.1:4210/ct/api"
    assert ui_url(4210) == "http://127.0.0.1:4210/ct"


def test_the_address_of_a_proxy_is_that_of_all_links(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ui_url(4210) == "http://127.0.0.1:4210"
    monkeypatch.setenv("PREFECT_UI_URL", "https://ct.example/prefect/")
    assert ui_url(4210) == "https://ct.example/prefect"


def test_a_key_is_made_once_and_nobody_else_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_key(tmp_path) is None
    key = key_to_serve_with(tmp_path)
    assert len(key) > 40
    assert key_to_serve_with(tmp_path) == kept_key(tmp_path) == key
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:it's mine")
    assert key_to_serve_with(tmp_path) == kept_key(tmp_path) == "me:it's mine"
    write_environment(tmp_path, {"PREFECT_API_AUTH_STRING": "me:it's mine"})
    show = f'. "{environment_file(tmp_path)}" && printf %s "$PREFECT_API_AUTH_STRING"'
    assert subprocess.run(["sh", "-c", show], capture_output=True, text=True).stdout == "me:it's mine"
    for file in (password_file(tmp_path), environment_file(tmp_path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_our_key_goes_to_no_other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS3D_HOME", str(tmp_path))
    (tmp_path / "prefect").mkdir()
    key_to_serve_with(tmp_path / "prefect")
    address = {"url": "http://127.0.0.1:4210/api", "ui": "http://127.0.0.1:4210", "host": os.uname().nodename}
    (tmp_path / "prefect" / "server.json").write_text(json.dumps(address))
    # What says where our server is, is true only while that server holds its lock.
    for url in ("http://127.0.0.1:4210/api", "http://127.0.0.1:9/api"):
        assert client_variables(url) == {"PREFECT_API_URL": url}


def test_folders_of_the_home_are_for_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    for folder in (home, home / "logs"):
        folder.chmod(0o755)  # as it may have been before
    monkeypatch.setenv("PS3D_HOME", str(home))
    for parts in (("logs",), ("training", "a")):
        assert home_folder(*parts).is_dir()
    modes = {str(each.relative_to(tmp_path)): stat.S_IMODE(each.stat().st_mode) for each in (home, *home.rglob("*"))}
    ours = dict.fromkeys(("home/logs", "home/training", "home/training/a"), 0o700)
    assert modes == {"home": 0o755, **ours}  # a folder of the user's stays as it is
