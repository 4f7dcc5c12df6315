"""Fixtures of real components."""

import pytest

from ps3d_core.store.location import Location
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
