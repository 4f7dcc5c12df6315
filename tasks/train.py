"""The steps of a training as Prefect tasks, under the names they have in ps3d_core; one task run per fold.

nnU-Net writes a checkpoint after every epoch, so a task that is tried again, or a flow run given again, goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ps3d_app.tasks.artifacts import show_plan
from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped, rendered
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.step import step
from ps3d_core.network.bundle import Bundle
from ps3d_core.training.nnunet import crossvalidation, packing, run
from ps3d_core.training.nnunet import plan as planning
from ps3d_core.training.nnunet.crossvalidation import Row
from ps3d_core.training.nnunet.packing import Trained
from ps3d_core.training.nnunet.plan import Fold, Planned, TrainJob, TrainPlan
from ps3d_core.training.nnunet.run import Curve

ROWS = 100


_MODEL = "{plan.job.bundle.name}"


@step("plan training", of="{job.bundle.name}")
def plan_training(job: TrainJob) -> TrainPlan:
    """Check the job and show what it will do; return the plan."""
    plan = planning.plan_training(job)
    show_plan(job.bundle.name, plan.describe())
    return plan


@step("prepare nnU-Net", of=_MODEL)
def prepare(plan: TrainPlan) -> Planned:
    """Have nnU-Net plan and preprocess; return what it planned."""
    return run.prepare(plan, run_progress(plan.job.bundle.name))


@step("train fold", of="{fold} of {plan.job.bundle.name}")
def train_fold(plan: TrainPlan, planned: Planned, fold: Fold) -> Curve:
    """Train one fold, show its loss and return its curve."""
    curve = run.train_fold(plan, planned, fold, run_progress(plan.job.bundle.name))
    create_table_artifact(
        _rows(curve),
        key=artifact_key(plan.job.bundle.name, f"loss of fold {fold}"),
        description=f"{escaped(plan.name)}: loss and Dice of patches by epoch, fold {fold}; "
        f"{curve.training_seconds / 3600:.2f} hours",
    )
    return curve


@step("pack", of=_MODEL)
def pack(plan: TrainPlan, planned: Planned) -> Bundle:
    """Make a bundle of the folds, in the work folder, and return it."""
    return packing.pack(plan, planned)


@step("validate fold", of="{fold} of {plan.job.bundle.name}")
def validate_fold(plan: TrainPlan, packed: Bundle, fold: Fold) -> list[Row]:
    """Segment the cases that a fold has not seen; return one row of figures per case."""
    return crossvalidation.validate_fold(plan, packed, fold, run_progress(plan.job.bundle.name))


@step("publish", of=_MODEL)
def publish(plan: TrainPlan, planned: Planned, packed: Bundle, curves: Sequence[Curve], rows: Sequence[Row]) -> Trained:
    """Put the bundle where it was asked for, with its record and figures, show both and return what was trained."""
    result = packing.publish(plan, planned, packed, curves, rows)
    name = plan.job.bundle.name
    if result.accuracy:
        create_table_artifact(
            [dict(row) for row in result.accuracy],
            key=artifact_key(name, "cross-validation"),
            description=f"{escaped(plan.name)}: particles of the cases that a fold was not trained on",
        )
    create_markdown_artifact(
        rendered("model.md.jinja", bundle=plan.job.bundle, published=result.bundle),
        key=artifact_key(name, "model"),
        description=f"{escaped(plan.name)}: model",
    )
    return result


def _rows(curve: Curve) -> list[dict[str, float | int]]:
    return [
        {
            "epoch": epoch + 1,
            "train_loss": round(curve.train_loss[epoch], 4),
            "validation_loss": round(curve.validation_loss[epoch], 4),
            "dice": round(curve.dice[epoch], 4),
        }
        for epoch in curve.shown(ROWS)
    ]
