"""Flow: training data of annotated scans. Mirrors `ps3d_core.training.preparation.prepare_training` line for line."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.prepare_training import finish_preparation, plan_preparation, prepare_scan
from ps3d_core.params import PreparationParams, Resources
from ps3d_core.store.layout import Dataset
from ps3d_core.training.preparation import begin_preparation, finished_preparation, preparation_claimed
from ps3d_core.training.preparation_plan import PreparationJob
from ps3d_core.training.preparation_record import PreparationRecord


@flow(name="prepare-training-data", flow_run_name="training data of {dataset}", on_running=[at_work])
@form
def prepare_training_data(
    dataset: str,
    output: str,
    scans: Sequence[str] | None = None,
    params: PreparationParams | None = None,
    resources: Resources | None = None,
) -> PreparationRecord:
    """Make training data for nnU-Net of the annotated scans of a dataset.

    Args:
        dataset: Dataset with images/ and instance_seg/: URL or absolute path.
        output: Folder or URL that gets the folder of the training data.
        scans: Names of the scans; all scans of the dataset when left out.
        params: What the scans become; ParticleSeg3D's choices when left out.
        resources: What the run may use; the whole machine it runs on when left out.

    Returns:
        What was prepared.

    """
    job = PreparationJob(
        Dataset(place(dataset)),
        place(output),
        tuple(scans) if scans else None,
        params or PreparationParams(),
        resources or Resources(),
    )
    plan = plan_preparation(job)
    if (record := finished_preparation(plan)) is not None:
        get_run_logger().info("%s: already prepared with these parameters", plan.folder.root)
        return record
    with preparation_claimed(plan, get_run_logger().info):
        begin_preparation(plan, get_run_logger().info)
        cases = [prepare_scan(plan, case) for case in plan.cases]
        return finish_preparation(plan, cases)
