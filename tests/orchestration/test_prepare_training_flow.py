"""The flow that prepares training data, on a real server: the core's files, one task run per scan, artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from ps3d_app.flows.prepare_training_data import prepare_training_data
from ps3d_core.errors import InputError
from ps3d_core.params import PreparationParams
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.training import preparation as core
from ps3d_core.training.preparation_plan import PreparationJob
from tests.orchestration.conftest import RESOURCES
from tests.orchestration.stack_process import assert_becomes
from tests.orchestration.test_flows import OTHER, SCAN, artifacts_of, run_id
from tests.orchestration.test_zscore_flow import task_runs

pytestmark = pytest.mark.usefixtures("server")

PARAMS = PreparationParams(zscore=(20_000, 5000), target_particle_size=16, instances=True)


def contents(folder: Location) -> dict[str, bytes]:
    names = (name for name in folder.find() if ".lease" not in name)
    return {name: (folder / name).read_bytes() for name in names}


def test_flow_writes_the_files_of_the_direct_run(dataset: Dataset, tmp_path: Path) -> None:
    by_flow = PreparationJob(dataset, Location.parse(tmp_path / "flow"), None, PARAMS, RESOURCES)
    direct = PreparationJob(dataset, Location.parse(tmp_path / "direct"), None, PARAMS, RESOURCES)
    state = prepare_training_data(
        str(dataset.root), str(by_flow.output), params=PARAMS, resources=RESOURCES, return_state=True
    )
    assert state.result() == core.prepare_training(direct)
    assert contents(by_flow.folder.root) == contents(direct.folder.root)
    assert set(state.result().cases) == {SCAN, OTHER}
    again = prepare_training_data(
        str(dataset.root), str(by_flow.output), params=PARAMS, resources=RESOURCES, return_state=True
    )
    with get_client(sync_client=True) as client:
        names = [f"plan training data: {dataset.root}", *(f"prepare scan: {name}" for name in (SCAN, OTHER))]
        names.append(f"finish training data: {by_flow.folder.root}")
        assert_becomes(lambda: task_runs(client, run_id(state)), [(name, "Completed", 1) for name in sorted(names)])
        assert_becomes(lambda: task_runs(client, run_id(again)), [(names[0], "Completed", 1)])
        kinds = {str(artifact.type) for artifact in artifacts_of(client, run_id(state))}
    assert kinds == {"markdown", "progress", "table"}


def test_bad_input_fails_once(dataset: Dataset, tmp_path: Path) -> None:
    state = prepare_training_data(str(dataset.root), str(tmp_path), ["nobody"], PARAMS, RESOURCES, return_state=True)
    with pytest.raises(InputError, match="scan 'nobody': no image"):
        state.result()
    with get_client(sync_client=True) as client:
        failed = [(f"plan training data: {dataset.root}", "Failed", 1)]
        assert_becomes(lambda: task_runs(client, run_id(state)), failed)
