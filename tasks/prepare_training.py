"""The steps of preparing training data as Prefect tasks, named as in ps3d_core; one task run per scan."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_table_artifact

from ps3d_app.tasks.artifacts import show_plan
from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.step import step
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.training import preparation as core
from ps3d_core.training import preparation_plan as planning
from ps3d_core.training import prepared_scan as scans
from ps3d_core.training.preparation_plan import CasePlan, PreparationJob, PreparationPlan
from ps3d_core.training.preparation_record import CaseRecord, PreparationRecord


@step("plan training data", of="{job.dataset.root}")
def plan_preparation(job: PreparationJob) -> PreparationPlan:
    """Check all scans, work out sizes and show them; return the plan."""
    plan = planning.plan_preparation(job)
    show_plan(str(plan.folder.root), plan.describe())
    return plan


@step("prepare scan", of="{case.name}")
def prepare_scan(plan: PreparationPlan, case: CasePlan) -> CaseRecord:
    """Write image and labels of one scan; return their record."""
    return scans.prepare_scan(plan, case, run_progress(case.name))


@step("finish training data", of="{plan.folder.root}")
def finish_preparation(plan: PreparationPlan, cases: Sequence[CaseRecord]) -> PreparationRecord:
    """Write dataset.json and ps3d.json, show what is there and return the record."""
    record = core.finish_preparation(plan, cases)
    create_table_artifact(
        [
            {
                "scan": escaped(case.scan),
                "voxels": shape_text(case.network_shape),
                "particles": case.particles,
            }
            for case in record.cases.values()
        ],
        key=artifact_key(str(plan.folder.root), "training-data"),
        description=f"training data in {escaped(str(plan.folder.root))}",
    )
    return record
