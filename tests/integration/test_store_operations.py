"""How often the pipeline asks the store: every shard is written once, and read once by every stage that needs it.

Seconds depend on the machine, numbers of requests do not: on S3 they are what a run costs.
"""

from collections import Counter
from math import ceil, prod

import numpy as np
import pytest
from zarr.storage import FsspecStore

from ps3d_core.inference.plan import border_core_shards
from ps3d_core.params import Resources
from ps3d_core.pipeline import segment
from ps3d_core.plan import plan_segmentation
from ps3d_core.progress import Progress, StageStarted
from ps3d_core.store.arrays import shard_shape
from ps3d_core.store.location import Location
from tests.integration.test_pipeline import SHAPE, job_in, make_dataset


class Requests:
    """Counts of requests for chunk data by stage and array, and of all others by stage."""

    def __init__(self):
        self.stage = "before"
        self.reads, self.writes, self.others = Counter(), Counter(), Counter()
        self.written = Counter()

    def __call__(self, event):
        if isinstance(event, StageStarted):
            self.stage = event.stage

    def read(self, path):
        self._count(self.reads, path)

    def write(self, path):
        self._count(self.writes, path)
        self.written[path] += 1

    def _count(self, counter, path):
        array, chunk, _ = str(path).partition("/c/")
        if chunk:
            counter[self.stage, array.rpartition("/.work/")[2].rpartition("memory://")[2]] += 1
        else:
            self.others[self.stage] += 1


@pytest.fixture(scope="module")
def counted():
    """Requests of a whole run with one worker and enough memory, and its plan."""
    place = Location.parse("memory://store-operations")
    place.remove_tree()
    make_dataset(place / "dataset")
    requests = Requests()
    get, put, read, write = FsspecStore.get, FsspecStore.set, Location.read_bytes, Location.write_bytes

    async def counted_get(self, key, *args, **kwargs):
        requests.read(f"{self.path}/{key}")
        return await get(self, key, *args, **kwargs)

    async def counted_put(self, key, *args, **kwargs):
        requests.write(f"{self.path}/{key}")
        return await put(self, key, *args, **kwargs)

    def counted_read(self):
        requests.read(self.url)
        return read(self)

    def counted_write(self, data):
        requests.write(self.url)
        return write(self, data)

    job = job_in(place, keep_work=True, resources=Resources(workers=1, memory_gib=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FsspecStore, "get", counted_get)
        patch.setattr(FsspecStore, "set", counted_put)
        patch.setattr(Location, "read_bytes", counted_read)
        patch.setattr(Location, "write_bytes", counted_write)
        segment(job, Progress(requests))
    yield requests, plan_segmentation(job)
    place.remove_tree()


def of(counter, stage, array):
    return sum(n for (s, a), n in counter.items() if s == stage and array in a)


def shards(shape, shard=shard_shape):
    return prod(ceil(n / s) for n, s in zip(shape, shard(shape), strict=True))


def test_every_shard_is_written_once(counted):
    requests, _ = counted
    chunks = {path: n for path, n in requests.written.items() if "/c/" in path}
    assert set(chunks.values()) == {1}


def test_stages_read_every_shard_once(counted):
    requests, plan = counted
    network, scan = shards(plan.scale.network_shape), shards(SHAPE)
    border_core = shards(plan.scale.network_shape, border_core_shards)
    assert of(requests.reads, "grey values", "") == scan
    assert of(requests.writes, "predict", "border-core") == border_core
    assert of(requests.reads, "label cores", "border-core") == border_core
    assert of(requests.reads, "grow particles", "border-core") == border_core
    assert of(requests.reads, "grow particles", "instances/cores/") == network
    assert of(requests.reads, "write labels", "instances/grow-") == network
    assert of(requests.reads, "resample labels", "network-labels") == network
    assert of(requests.reads, "measure", "ore.zarr/0") == 2 * scan  # labels and grey values
    assert of(requests.writes, "resample labels", "ore.zarr/0") == scan


def test_requests_for_metadata_tables_and_ledgers_are_few(counted):
    requests, _ = counted
    # Most open an array: its own zarr.json and that of the image around it.
    # The report reads a column at a time, and contacts leave counts and packing of each block.
    assert sum(requests.others.values()) < 500, requests.others


def test_the_plan_knows_how_much_is_written(counted):
    _, plan = counted
    root = plan.job.result.root
    nodes = [(root / name).read_json() for name in root.find() if name.endswith("/zarr.json")]
    arrays = [node for node in nodes if node["node_type"] == "array"]
    written = sum(prod(array["shape"]) * np.dtype(array["data_type"]).itemsize for array in arrays)
    assert written <= plan.disk_bytes < 1.05 * written
