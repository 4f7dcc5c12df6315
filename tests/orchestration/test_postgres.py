"""The local stack with its Prefect server on PostgreSQL instead of SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ps3d_app.flows.service.server_settings import database_settings
from ps3d_core.errors import InputError
from tests.orchestration.stack_process import Up, assert_scan_comes_out, drop_scan, free_port, gone, wait_until

PASSWORD = "secret-of-the-test"


def program(name: str) -> str | None:
    """A program of PostgreSQL; Debian keeps them out of the PATH."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(beside[-1]) if beside else None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """URL of an empty database on a server of its own, run as a user that may."""
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed (initdb, postgres)")
    as_user: list[str] = []
    folder, port = tmp_path / "postgres", free_port()
    folder.mkdir()
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and setpriv is not installed")
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder, 65534, 65534)
        for parent in folder.parents:
            if parent.owner() == "root" and parent != Path("/") and "pytest" in str(parent):
                parent.chmod(0o711)
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    data = folder / "data"
    options = ["--username=prefect", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8"]
    subprocess.run([*as_user, initdb, f"--pgdata={data}", *options], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    command = [*as_user, postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as server:
        ready = program("pg_isready")
        assert ready is not None
        wait_until(lambda: subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0)
        yield f"postgresql+asyncpg://prefect:{PASSWORD}@127.0.0.1:{port}/postgres"
        server.terminate()


@pytest.mark.soak
def test_a_dropped_scan_on_postgres(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    up = Up(home, "--s3-port", str(free_port()), environment={"PS3D_DATABASE_URL": database})
    try:
        up.await_ready()
        for name, value in up.keys.items():
            monkeypatch.setenv(name, value)
        drop_scan()
        assert_scan_comes_out(up)
        family = up.family()
        status, _, err = up.stop()
        assert (status, err) == (0, "")
        assert gone(family)
    finally:
        up.kill()
    assert not (home / "prefect" / "prefect.db").exists()
    for file in home.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()


def test_another_database_is_refused_without_showing_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS3D_DATABASE_URL", f"mysql://me:{PASSWORD}@host/db")
    with pytest.raises(InputError, match=r"must begin with postgresql\+asyncpg://") as refused:
        database_settings()
    assert PASSWORD not in str(refused.value)
