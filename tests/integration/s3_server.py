"""A real S3 server (SeaweedFS) on loopback, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ps3d_app.flows.service.stack.s3_process import BUCKET

START_SECONDS = 240


@dataclass(frozen=True)
class S3:
    """Address and keys of a running server."""

    endpoint: str
    environment: dict[str, str]


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3]:
    """Start a server with its data in `folder`, yield it when it answers, stop it at the end."""
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret-0123456789",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
    }
    command = [sys.executable, "-P", "-m", "ps3d_app.flows.service.stack.s3_process", str(folder.parent / "s3-secrets")]
    command += ["--data", str(folder), "--port", str(port)]
    with (folder.parent / "weed.log").open("wb") as log, ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment))
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


def _free_port() -> int:
    # Below those that the server takes for itself, and a range for every process, since a port is free again between
    # this look and the server's start.
    for port in count(5000 + os.getpid() % 300 * 20):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("count never ends")
