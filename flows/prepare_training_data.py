"""Flow: training data of annotated scans. Mirrors `ps3d_core.training.preparation.prepare_training` line for line."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_core.params import PreparationParams, Resources
from ps3d_core.store.layout import Dataset
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.training.preparation import begin_preparation, finished_preparation
from ps3d_core.training.preparation_plan import PreparationJob
from ps3d_core.training.preparation_record import PreparationRecord
from tasks.prepare_training import finish_preparation, plan_preparation, prepare_scan


@flow(name="prepare-training-data", flow_run_name="training data of {dataset}")
def prepare_training_data(
    dataset: str,
    output: str,
    scans: Sequence[str] | None = None,
    params: PreparationParams | None = None,
    resources: Resources | None = None,
) -> PreparationRecord:
    """Make training data for nnU-Net of `scans` (default: all) of a dataset, in a folder of `output`; paths or URLs.

    `resources` are those of the machine that runs the flow when absent.
    """
    job = PreparationJob(
        Dataset(Location.parse(dataset)),
        Location.parse(output),
        tuple(scans) if scans else None,
        params or PreparationParams(),
        resources or Resources(),
    )
    plan = plan_preparation(job)
    if (record := finished_preparation(plan)) is not None:
        get_run_logger().info("%s: already prepared with these parameters", plan.folder.root)
        return record
    with sole_run(plan.folder.lease, str(plan.folder.root), get_run_logger().info):
        begin_preparation(plan)
        cases = [prepare_scan(plan, case) for case in plan.cases]
        return finish_preparation(plan, cases)
