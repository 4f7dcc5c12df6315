"""The z-score flow on a real server: the core's file, one task run per scan, artifacts, no retry of bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from ps3d_app.flows.estimate_zscore import estimate_zscore
from ps3d_app.tasks.progress import also_shown_to
from ps3d_core.errors import InputError
from ps3d_core.params import ZScoreParams
from ps3d_core.progress import Event, StageFinished
from ps3d_core.scan import zscore as core
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from tests.orchestration.conftest import RESOURCES
from tests.orchestration.stack_process import assert_becomes
from tests.orchestration.test_flows import OTHER, SCAN, artifacts_of, run_id

pytestmark = pytest.mark.usefixtures("server")


def task_runs(client: SyncPrefectClient, flow_run: object) -> list[tuple[str, str, int]]:
    """Names, states and counts of the task runs, as far as the server has heard of them."""
    runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
    return sorted((run.name, str(run.state_name), run.run_count) for run in runs)


@pytest.mark.parametrize("params", [ZScoreParams(), ZScoreParams(samples=20_000, seed=3)])
def test_flow_writes_the_file_of_the_direct_run(dataset: Dataset, params: ZScoreParams) -> None:
    root = str(dataset.root)
    events: list[Event] = []
    dataset.zscore.remove_tree()
    with also_shown_to(events.append):
        state = estimate_zscore(root, params=params, resources=RESOURCES, return_state=True)
    by_flow = dataset.zscore.read_bytes()
    dataset.zscore.remove_tree()
    assert state.result() == core.estimate_zscore(dataset, None, params, RESOURCES)
    assert dataset.zscore.read_bytes() == by_flow
    dataset.zscore.remove_tree()
    assert [event.stage for event in events if isinstance(event, StageFinished)] == [
        f"zscore {name}" for name in (SCAN, OTHER)
    ]
    with get_client(sync_client=True) as client:
        names = [f"plan z-score: {root}", *(f"read grey values: {name}" for name in (SCAN, OTHER))]
        names.append(f"finish z-score: {root}")
        assert_becomes(lambda: task_runs(client, run_id(state)), [(name, "Completed", 1) for name in sorted(names)])
        shown = artifacts_of(client, run_id(state))
    assert sorted(str(artifact.type) for artifact in shown) == ["progress", "progress", "table"]
    table = next(str(artifact.data) for artifact in shown if artifact.type == "table")
    assert all(name in table for name in ("all", "Ore 2.5um"))


def test_bad_input_fails_once(tmp_path: Path) -> None:
    dataset = Dataset(Location.parse(tmp_path))
    create_image(dataset.image("flat"), (8, 8, 8), "uint8", spacing=0.01, name="flat")[:] = 5
    state = estimate_zscore(str(tmp_path), ["flat"], resources=RESOURCES, return_state=True)
    with pytest.raises(InputError, match="all voxels read are 5"):
        state.result()
    with get_client(sync_client=True) as client:
        failed = [(f"finish z-score: {tmp_path}", "Failed", 1)]
        assert_becomes(lambda: [each for each in task_runs(client, run_id(state)) if each[1] == "Failed"], failed)
    assert not dataset.zscore.exists()
