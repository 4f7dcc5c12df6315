"""Flow: a model trained on prepared data. Mirrors `ps3d_core.training.nnunet.train.train` line for line."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_core.params import Resources, TrainParams
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.packing import Trained, trained
from ps3d_core.training.nnunet.plan import TrainJob, finished_training
from tasks.train import pack, plan_training, prepare, publish, train_fold, validate_fold


@flow(name="train-model", flow_run_name="train {bundle}")
def train_model(
    data: str,
    bundle: str,
    params: TrainParams | None = None,
    resources: Resources | None = None,
    work: str | None = None,
    overwrite: bool = False,
) -> Trained:
    """Train a model on `data`, what ps3d prepare-training made, and pack it at `bundle`. Locations are paths or URLs.

    One task run per fold, one after the other: a GPU holds one of them. `work` is a folder of the machine that runs the
    flow, `resources` are those of this machine when absent.
    """
    job = TrainJob(
        Location.parse(data),
        Location.parse(bundle),
        params or TrainParams(),
        resources or Resources(),
        Location.parse(work) if work else None,
        overwrite,
    )
    plan = plan_training(job)
    if (found := finished_training(plan)) is not None:
        get_run_logger().info("%s: already trained with these parameters", found.location)
        return trained(found)
    with sole_run(plan.workplace.lease, f"training in {plan.workplace.root}", get_run_logger().info):
        planned = prepare(plan)
        get_run_logger().info(planned.line)
        curves = [train_fold(plan, planned, fold) for fold in plan.folds]
        packed = pack(plan, planned)
        rows = [row for fold in plan.folds for row in validate_fold(plan, packed, fold)]
        return publish(plan, planned, packed, curves, rows)
