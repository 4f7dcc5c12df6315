"""Fixtures of real components."""

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager

import pytest
from distributed import Client

from ps3d_core.engine.blocks import stop_workers
from ps3d_core.store import s3 as s3_connection
from ps3d_core.store.location import Location
from tests.integration.faulty_proxy import faulty_proxy
from tests.integration.s3_server import BUCKET, seaweedfs


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("s3-data")) as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch, request):
    """A prefix of its own on the S3 server, whose keys are in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return Location.parse(f"s3://{BUCKET}") / request.node.name.replace("[", "-").replace("]", "")


@pytest.fixture(autouse=True)
def workers_stop_with_the_test():
    """Dask's threads draw random numbers now and then, which tests of properties in this process would notice."""
    yield
    stop_workers()


@pytest.fixture(scope="module")
def dask_cluster(s3_server, tmp_path_factory):
    """Address of a Dask scheduler with two workers, all processes of their own that know the S3 server's keys.

    A worker that dies is started again by its nanny.
    """
    folder = tmp_path_factory.mktemp("dask")
    address_file = folder / "scheduler.json"
    where = ["--scheduler-file", str(address_file)]
    worker = ["worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", *where]
    commands = [["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *where], worker, worker]
    environment = os.environ | s3_server.environment
    processes = [
        subprocess.Popen([sys.executable, "-m", "dask", *each], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        for each in commands
    ]
    try:
        with Client(scheduler_file=str(address_file), timeout=240) as client:
            client.wait_for_workers(2, timeout=240)
            yield client.scheduler.address
    finally:
        for process in processes:
            process.terminate()
        for process in processes:  # they say goodbye to each other, which takes longer one by one
            process.wait()


@pytest.fixture
def through_proxy(s3_server, monkeypatch):
    """Enter it with faults to have all requests go through a proxy that makes them."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def entered(faults):
        if "stalled" in faults.kinds:
            # Not to wait for a minute. A request that takes so long on a busy machine is repeated as well.
            monkeypatch.setenv(s3_connection.TIMEOUT_VARIABLE, "2")
        with faulty_proxy(s3_server.endpoint, faults) as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            yield Location.parse(f"s3://{BUCKET}") / uuid.uuid4().hex
            monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)

    return entered
