"""Fixtures of real components."""

from pathlib import Path

import pytest

from ps3d_core.store.location import Location
from tests.integration.s3_server import BUCKET, seaweedfs

WITH_S3 = ("test_s3.py", "test_pipeline.py")


def pytest_collection_modifyitems(items):
    """One S3 server serves all: with several test processes, the tests that need it share one of them."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name in WITH_S3:
            item.add_marker(pytest.mark.xdist_group("s3"))


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
