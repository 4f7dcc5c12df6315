"""A real Prefect server for all tests here, and scans to run flows on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ps3d_app.flows.service.local_server import Api, api
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

# Two patches of the network, and large enough to be cut into blocks.
SHAPE = (64, 68, 80)
PARAMS = SegmentParams(predict=PredictParams(mirror=False, device="cpu"))
RESOURCES = Resources(workers=1, memory_gib=4)


@pytest.fixture(scope="session")
def server(own_home: Path) -> Iterator[Api]:
    """The local server, as a command starts it."""
    with api() as connected:
        yield connected


@pytest.fixture(scope="session", autouse=True)
def all_progress_is_shown() -> Iterator[None]:
    """Stages are quick here, and would have no artifact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ps3d_app.tasks.progress.UPDATE_EVERY_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two scans that can be segmented, with names that Prefect would not take as a key."""
    place = Dataset(Location.parse(tmp_path_factory.mktemp("dataset")))
    for seed, name in enumerate(("Ore 2.5um", "ore_2,5µm")):
        params = PhantomParams(shape=SHAPE, particle_size_voxels=22, seed=seed, dtype="uint16")
        write_phantom(params, place.root, name, spacing=0.01)
    return place
