"""Flows on a real server: the bytes of the direct run, artifacts to look at, failures that stay where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import tifffile
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
)
from prefect.client.schemas.objects import Artifact, State
from prefect.exceptions import ParameterTypeError

from ps3d_app.flows.failures import ScansFailedError
from ps3d_app.flows.ingest_scan import ingest_scan
from ps3d_app.flows.segment_dataset import segment_dataset
from ps3d_app.flows.segment_scan import segment_scan
from ps3d_app.tasks.progress import also_shown_to
from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import Event, Noted, StageFinished
from ps3d_core.store.arrays import read_box
from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from tests.balls import balls
from tests.orchestration.conftest import PARAMS, RESOURCES, SHAPE
from tests.orchestration.stack_process import assert_becomes

pytestmark = pytest.mark.usefixtures("server")

SCAN, OTHER = "Ore 2.5um", "ore_2,5µm"
KINDS = ("markdown", "progress", "table")
STAGES = [
    "plan",
    "grey values",
    "predict",
    "instances",
    "labels",
    "certainty",
    "contacts",
    "measure",
    "verdict",
    "report",
    "finish",
    "show",
]


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


def run_scan(dataset: Dataset, output: Location, scan: str = SCAN) -> State[Any]:
    return segment_scan(str(dataset.root), scan, str(output), params=PARAMS, resources=RESOURCES, return_state=True)


def run_id(state: State[Any]) -> UUID:
    found = state.state_details.flow_run_id
    assert found is not None
    return found


def artifacts_of(client: SyncPrefectClient, flow_run: UUID) -> list[Artifact]:
    return client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run])))


def tasks_of(client: SyncPrefectClient, flow_run: UUID) -> dict[str, str]:
    """State of every task run by the first part of its name."""
    runs = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])), task_run_filter=TaskRunFilter()
    )
    return {run.name.partition(":")[0]: str(run.state_name) for run in runs}


def everything(result: Result) -> tuple[bytes, bytes, bytes]:
    labels = open_image(result.labels)
    voxels = read_box(labels, Box.of(labels.shape))
    assert voxels.any()
    return voxels.tobytes(), result.table_parquet.read_bytes(), result.table_csv.read_bytes()


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Location, State[Any], list[Event]]:
    """One scan segmented by the flow: where, the final state, what a terminal would have seen."""
    output = Location.parse(tmp_path_factory.mktemp("flow"))
    events: list[Event] = []
    with also_shown_to(events.append), pytest.MonkeyPatch.context() as patch:
        patch.setattr("ps3d_app.tasks.progress.UPDATE_EVERY_SECONDS", 0.0)
        state = run_scan(dataset, output)
    return output, state, events


def test_flow_gives_the_bytes_of_the_direct_run(
    dataset: Dataset, finished: tuple[Location, State[Any], list[Event]], tmp_path: Path
) -> None:
    output, state, _ = finished
    direct = SegmentJob(dataset, SCAN, Location.parse(tmp_path), params=PARAMS, resources=RESOURCES)
    record = segment(direct)
    assert state.result().particles == record.particles > 5
    assert everything(Result(output, SCAN)) == everything(direct.result)


def test_every_stage_is_a_task_run(
    client: SyncPrefectClient, finished: tuple[Location, State[Any], list[Event]]
) -> None:
    _, state, _ = finished
    assert state.is_completed()
    assert_becomes(lambda: tasks_of(client, run_id(state)), dict.fromkeys(STAGES, "Completed"))


def test_artifacts_show_plan_progress_and_results(
    client: SyncPrefectClient, finished: tuple[Location, State[Any], list[Event]]
) -> None:
    output, state, _ = finished
    shown = artifacts_of(client, run_id(state))
    text = {kind: "".join(str(artifact.data) for artifact in shown if artifact.type == kind) for kind in KINDS}
    assert {artifact.type for artifact in shown} == set(KINDS)
    assert "64 x 68 x 80 voxels" in text["markdown"]
    assert all(name in text["table"] for name in ("D10", "D50", "D90", "axis_long_mm"))
    assert text["markdown"].count("data:image/jpeg;base64,") == 3
    for location in (Result(output, SCAN).report, Result(output, SCAN).table_csv, Result(output, SCAN).labels):
        assert f"`{location}`" in text["markdown"]
    progress = [artifact for artifact in shown if artifact.type == "progress"]
    assert any("predict" in str(artifact.description) for artifact in progress)
    assert {artifact.data for artifact in progress} == {100.0}


def test_listeners_of_the_process_hear_the_flow(finished: tuple[Location, State[Any], list[Event]]) -> None:
    _, _, events = finished
    assert "predict" in {event.stage for event in events if isinstance(event, StageFinished)}


def test_second_run_does_nothing(
    client: SyncPrefectClient, dataset: Dataset, finished: tuple[Location, State[Any], list[Event]]
) -> None:
    output, first, _ = finished
    before = {name: info["mtime"] for name, info in Result(output, SCAN).root.find().items()}
    events: list[Event] = []
    with also_shown_to(events.append):
        again = run_scan(dataset, output)
    assert again.result().model_dump_json() == first.result().model_dump_json()
    assert_becomes(lambda: tasks_of(client, run_id(again)), dict.fromkeys(("plan", "show"), "Completed"))
    assert {artifact.type for artifact in artifacts_of(client, run_id(again))} == {"markdown", "table"}
    assert not [event for event in events if not isinstance(event, Noted)]
    assert {name: info["mtime"] for name, info in Result(output, SCAN).root.find().items()} == before


def test_a_dataset_without_scans_is_refused(tmp_path: Path) -> None:
    """A mistyped dataset must not look like one where everything is done."""
    with pytest.raises(InputError, match="nowhere: nothing there"):
        segment_dataset(str(tmp_path / "nowhere"), str(tmp_path / "out"))


def test_a_bad_scan_does_not_stop_the_others(client: SyncPrefectClient, dataset: Dataset, tmp_path: Path) -> None:
    state = segment_dataset(
        str(dataset.root),
        str(tmp_path),
        ["nothing", OTHER],
        params=PARAMS,
        resources=RESOURCES,
        return_state=True,
    )
    assert state.is_failed()
    with pytest.raises(ScansFailedError, match=r"scan 'nothing': not in") as failed:
        state.result()
    assert list(failed.value.failures) == ["nothing"]
    assert isinstance(failed.value, InputError)
    assert Result(Location.parse(tmp_path), OTHER).run.exists()
    # The bad scan failed in its first task, once: what the user gave does not get better by trying again.
    children = client.read_flow_runs()
    bad = next(run for run in children if run.name == "segment nothing")
    assert bad.state_name == "Failed"
    assert_becomes(lambda: tasks_of(client, bad.id), {"plan": "Failed"})


def test_damaged_scan_is_reported_and_leaves_no_result(
    client: SyncPrefectClient, dataset: Dataset, tmp_path: Path
) -> None:
    place = Location.parse(tmp_path)
    broken = Dataset(place / "broken")
    for name in dataset.root.find():
        if SCAN in name or name == "metadata.json":
            (broken.root / name).write_bytes((dataset.root / name).read_bytes())
    chunk = min((broken.image(SCAN) / "0" / "c").find())
    (broken.image(SCAN) / "0" / "c" / chunk).remove_tree()
    state = run_scan(broken, place / "out")
    assert state.is_failed()
    with pytest.raises(OSError, match=r"Ore 2\.5um\.zarr"):
        state.result()
    assert not Result(place / "out", SCAN).run.exists()


def test_ingest_flow(client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ps3d_app.tasks.progress.UPDATE_EVERY_SECONDS", 600.0
    )  # what is quicker gets no artifact of progress
    slices = tmp_path / "slices"
    slices.mkdir()
    rng = np.random.default_rng(0)
    for z in range(SHAPE[0]):
        tifffile.imwrite(slices / f"s{z}.tif", rng.integers(0, 9000, SHAPE[1:]).astype(np.uint16))
    state = ingest_scan(str(slices), str(tmp_path / "data"), "made", particle_size=0.2, spacing=0.01, return_state=True)
    assert state.result().shape == SHAPE
    assert Dataset(Location.parse(tmp_path / "data")).names() == ["made"]
    assert {artifact.type for artifact in artifacts_of(client, run_id(state))} == {"markdown"}


@pytest.mark.usefixtures("client")
def test_the_form_of_an_ingest_takes_sample_data(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((5, 8, 8), np.uint16), photometric="minisblack")
    given = {"source": str(tmp_path / "scan.tif"), "dataset": str(tmp_path / "data"), "name": "ore"}
    said = {"id": "A-17", "operator": "J. Doe", "mass, g": 2.5}
    ingest_scan(**given, particle_size=0.02, spacing=0.01, reading={"sample": said})
    file = Dataset(Location.parse(tmp_path / "data")).sample("ore")
    assert file.read_json() == {"id": "A-17", "operator": "J. Doe", "mass, g": "2.5"}
    ingest_scan(**given, particle_size=0.02, spacing=0.01, overwrite=True)
    assert file.read_json()["id"] == "A-17"
    with pytest.raises(ParameterTypeError, match="must be like 2026-11-30"):
        ingest_scan(**given, particle_size=0.02, spacing=0.01, reading={"sample": {"date": "yesterday"}})


def test_a_size_that_nobody_knows_is_looked_for_and_shown(client: SyncPrefectClient, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", balls(40, 5), photometric="minisblack")
    dataset, output = str(tmp_path / "data"), str(tmp_path / "results")
    ingest_scan(str(tmp_path / "scan.tif"), dataset, "ore", "auto", 0.01)
    state = segment_scan(dataset, "ore", output, params=PARAMS, resources=RESOURCES, return_state=True)
    record = state.result()
    assert record.input["particle_size_mm"] == pytest.approx(0.1, rel=0.15)
    assert record.input["particles"] == "bright"
    assert_becomes(lambda: tasks_of(client, run_id(state)), dict.fromkeys(["inspect", *STAGES], "Completed"))
    [shown] = [each for each in artifacts_of(client, run_id(state)) if str(each.key).endswith("-inspection")]
    assert "particles are brighter than what is around them" in str(shown.data)
