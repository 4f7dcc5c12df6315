"""The reference's particles: the same partition of the foreground, whatever the blocks and workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ps3d_core.engine.blocks import Runner
from ps3d_core.store.location import Location
from tests.unit.instances_runs import labels_of, planned, stored

DATA = Path(__file__).parent / "data"


def partition(labels):
    """Ids replaced by the rank of their first voxel: equal for equal partitions."""
    ids, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(np.where(ids == 0, -1, first)))
    return rank[inverse].reshape(labels.shape)


def test_small_cores_at_the_faces_of_the_scan(tmp_path):
    """The edge of the scan makes no core small; all of these would differ if it did."""
    with np.load(DATA / "border_core_to_instances_at_faces.npz") as stored_cases:
        cases = dict(stored_cases)
    for number in range(len(cases) // 2):
        place = Location.parse(tmp_path / str(number))
        border_core, instances = cases[f"border_core_{number:02d}"], cases[f"instances_{number:02d}"]
        block = tuple(-(-n // 2) for n in border_core.shape) if number % 5 == 0 else None
        labels = labels_of(planned(place, stored(place, border_core), block_shape=block))
        np.testing.assert_array_equal(partition(labels), partition(instances))


@pytest.fixture(scope="module", params=["dense", "sparse"])
def case(request):
    with np.load(DATA / f"border_core_to_instances_{request.param}_128.npz") as stored_case:
        return {name: stored_case[name] for name in ("border_core", "instances")}


def test_partition_for_all_blocks_and_workers(tmp_path, case):
    place = Location.parse(tmp_path)
    source = stored(place, case["border_core"])
    results = []
    for block, runner in (
        (None, Runner()),
        ((64, 64, 64), Runner(workers=2)),
        ((48, 80, 128), Runner(workers=2)),
        ((128, 33, 101), Runner()),
        ((37, 128, 64), Runner(workers=2)),
        ((32, 64, 64), Runner()),
    ):
        plan = planned(place / f"{len(results)}", source, block_shape=block)
        results.append(labels_of(plan, runner))
    np.testing.assert_array_equal(partition(results[0]), partition(case["instances"]))
    for result in results[1:]:
        assert result.tobytes() == results[0].tobytes()
