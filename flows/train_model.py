"""Flow: a model trained on prepared data. Mirrors `ps3d_core.training.nnunet.train.train` line for line."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.machine.home import training_folder
from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.train import pack, plan_training, prepare, publish, train_fold, validate_fold
from ps3d_core.params import Resources, TrainParams
from ps3d_core.training.nnunet.claim import training_claimed
from ps3d_core.training.nnunet.packing import Trained, trained
from ps3d_core.training.nnunet.plan import TrainJob, finished_training


@flow(name="train-model", flow_run_name="train {bundle}", on_running=[at_work])
@form
def train_model(
    data: str,
    bundle: str,
    params: TrainParams | None = None,
    resources: Resources | None = None,
    work: str | None = None,
    overwrite: bool = False,
) -> Trained:
    """Train a model with nnU-Net 2 on prepared data, fold by fold, and pack it for ps3d segment.

    Args:
        data: Folder that prepare-training-data made, with dataset.json and ps3d.json: URL or absolute path.
        bundle: Folder or URL that gets the model.
        params: How the network is trained; nnU-Net's choices when left out.
        resources: What the run may use; the whole machine it runs on when left out.
        work: Folder of the worker's machine for checkpoints; chosen by ps3d when left out.
        overwrite: Replace another model at the same place.

    Returns:
        The model, and how accurate it was found to be.

    """
    job = TrainJob(
        place(data),
        place(bundle),
        params or TrainParams(),
        resources or Resources(),
        place(work) if work else training_folder(place(bundle)),
        overwrite,
    )
    plan = plan_training(job)
    if (found := finished_training(plan)) is not None:
        get_run_logger().info("%s: already trained with these parameters", found.location)
        return trained(found)
    with training_claimed(plan, get_run_logger().info):
        planned = prepare(plan)
        get_run_logger().info(planned.line)
        curves = [train_fold(plan, planned, fold) for fold in plan.folds]
        packed = pack(plan, planned)
        rows = [row for fold in plan.folds for row in validate_fold(plan, packed, fold)]
        return publish(plan, planned, packed, curves, rows)
