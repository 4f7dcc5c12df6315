"""The local S3 server: SeaweedFS on loopback, with keys that only its owner can read.

Keys are made once and kept in the folder of the server; other S3 keys of the user's environment never get there. How
it is started so that nothing but S3 is served, and S3 to nobody without keys: see `s3_process`.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.machine.module_path import module_path
from ps3d_app.flows.machine.private import private_folder, write_private
from ps3d_app.flows.service.stack import s3_process
from ps3d_app.flows.service.stack.children import Child
from ps3d_core.errors import InputError, Ps3dError

BUCKET = s3_process.BUCKET
REGION = "us-east-1"
DEFAULT_PORT = 4211
START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """Address and keys of the local S3 server, known before it runs."""

    folder: Path
    port: int
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """URL of the S3 server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that S3 clients read, for this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def environment_file(self) -> Path:
        """File with the variables that S3 clients read, for a shell to source."""
        return self.folder / "env"

    def child(self) -> Child:
        """Return the program of the S3 server, not yet started."""
        command = [sys.executable, "-P", "-m", "ps3d_app.flows.service.stack.s3_process", str(self.folder)]
        command += ["--data", str(self.folder / "data"), "--port", str(self.port)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = inherited | self.environment | {"PYTHONPATH": module_path()}
        return Child("S3 server", command, environment, log=self.folder / "server.log", folder=self.folder)

    def await_ready(self, goes_on: Callable[[], bool]) -> None:
        """Wait until the bucket answers.

        Raise `Ps3dError` when the server ends or says nothing, or when the bucket can be read without keys.
        """
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
    """Return the S3 server of this PS3D_HOME, with its keys on disk.

    Raise `InputError` when the port is taken or the program is missing.
    """
    s3_process.program()
    require_free(port, "s3_port")
    folder = home_folder("s3")
    private_folder(folder)
    kept = folder / "keys.json"
    if not kept.exists():
        keys = {"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}
        write_private(kept, json.dumps(keys))
    keys = json.loads(kept.read_text())
    server = S3Server(folder, port, keys["access_key"], keys["secret_key"])
    lines = "".join(f"export {name}={value}\n" for name, value in server.environment.items())
    write_private(server.environment_file, lines)
    return server


def require_free(port: int, option: str) -> None:
    """Raise `InputError` when somebody listens on this port of 127.0.0.1, or it cannot be used otherwise."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise InputError(
                f"port {port}: cannot be used ({reason})", "stop what uses it", f"give another <{option}>"
            ) from error
