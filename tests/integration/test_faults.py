"""A store that fails: what passes by itself is repeated, the rest is said by name, and the bytes are the same."""

import os
import uuid
from contextlib import contextmanager

import numpy as np
import pytest

from ps3d_core.errors import CorruptDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.pipeline import segment
from ps3d_core.store import location as locations
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.location import Location
from tests.integration.faulty_proxy import Faults, faulty_proxy
from tests.integration.s3_server import BUCKET
from tests.integration.test_pipeline import everything_of, finished, job_in  # noqa: F401

KINDS = ("busy", "closed", "stalled", "truncated", "corrupted")


@pytest.fixture
def through_proxy(s3_server, monkeypatch):
    """Enter it with faults to have all requests go through a proxy that makes them."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(locations, "READ_SECONDS", 1.0)

    @contextmanager
    def entered(faults):
        with faulty_proxy(s3_server.endpoint, faults) as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            yield Location.parse(f"s3://{BUCKET}") / uuid.uuid4().hex
            monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)

    return entered


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_and_files_survive_every_kind_of_fault(through_proxy, kind):
    data = np.random.default_rng(0).integers(0, 2**16, (96, 64, 64)).astype(np.uint16)
    faults = Faults({kind: 0.15 if kind != "stalled" else 0.05}, stall_seconds=2.0, seed=3)
    with through_proxy(faults) as place:
        array = create_array(place / "a.zarr", data.shape, data.dtype, chunks=(16, 32, 32), shards=(32, 32, 32))
        write_box(array, Box.of(data.shape), data)
        for _ in range(3):
            np.testing.assert_array_equal(read_box(open_array(place / "a.zarr"), Box.of(data.shape)), data)
        for number in range(10):
            (place / f"{number}.json").write_json({"n": number})
        assert [(place / f"{number}.json").read_json()["n"] for number in range(10)] == list(range(10))
        assert sorted(place.children()) == sorted(["a.zarr", *(f"{number}.json" for number in range(10))])
    assert faults.happened[kind] > 0


def test_damage_on_the_store_is_said_and_not_repeated_for_ever(through_proxy):
    faults = Faults({})
    with through_proxy(faults) as place:
        array = create_array(place / "a.zarr", (32, 32, 32), np.uint8)
        write_box(array, Box.of((32, 32, 32)), np.ones((32, 32, 32), np.uint8))
        shard = place / "a.zarr" / "c" / "0" / "0" / "0"
        damaged = bytearray(shard.read_bytes())
        damaged[10] ^= 1
        shard.write_bytes(bytes(damaged))
        before = faults.requests
        with pytest.raises(CorruptDataError, match=r"a\.zarr"):
            read_box(open_array(place / "a.zarr"), Box.of((32, 32, 32)))
        assert faults.requests - before < 20


@pytest.mark.parametrize("status", ["absent", "denied"])
def test_absence_and_denial_are_not_repeated(through_proxy, monkeypatch, status):
    faults = Faults({})
    with through_proxy(faults) as place:
        if status == "denied":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        before = faults.requests
        with pytest.raises(OSError) as raised:  # noqa: PT011
            (place / "nothing").read_bytes()
        assert faults.requests - before <= 2
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)


@pytest.mark.slow
def test_whole_run_on_a_store_that_fails_one_request_in_ten(finished, through_proxy):  # noqa: F811
    place, _ = finished
    faults = Faults({"busy": 0.04, "closed": 0.03, "truncated": 0.01, "corrupted": 0.015, "stalled": 0.005}, seed=11)
    with through_proxy(faults) as store:
        for name in (place / "dataset").find():
            (store / "dataset" / name).write_bytes((place / "dataset" / name).read_bytes())
        segment(job_in(store))
        assert everything_of(job_in(store)) == everything_of(job_in(place))
    assert sum(faults.happened.values()) > 10
