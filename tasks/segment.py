"""The stages of a segmentation as Prefect tasks, under the names they have in ps3d_core.

Tasks exchange the plan and small summaries; voxels stay on the store. Caching is left to the core on purpose: every
stage keeps its summary and a ledger of finished blocks with the data they describe, keyed on the fingerprint of input
and parameters, and answers in milliseconds when it was done before. A second cache in Prefect could only disagree with
it, for instance when somebody deletes the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task

from ps3d_core import plan as planning
from ps3d_core import stages
from ps3d_core.plan import SegmentJob, SegmentPlan
from ps3d_core.record import RunRecord
from ps3d_core.stages import Summary
from tasks import artifacts
from tasks.progress import run_progress
from tasks.step import step

P = ParamSpec("P")
R = TypeVar("R")


def _stage(name: str, of: str = "{plan.job.scan}") -> Callable[[Callable[P, R]], Task[P, R]]:
    return step(name, of)


@_stage("plan", of="{job.scan}")
def plan_segmentation(job: SegmentJob) -> SegmentPlan:
    """Check the job, work out its sizes and show them."""
    plan = planning.plan_segmentation(job)
    artifacts.show_plan(job.scan, plan.describe())
    return plan


@_stage("grey values")
def find_intensity(plan: SegmentPlan) -> Summary:
    """Offset and scale of the scan's grey values."""
    return stages.find_intensity(plan, run_progress(plan.job.scan))


@_stage("predict")
def predict_border_core(plan: SegmentPlan, intensity: Summary) -> Summary:
    """Border-core labels on the network grid."""
    return stages.predict_border_core(plan, intensity, run_progress(plan.job.scan))


@_stage("instances")
def find_instances(plan: SegmentPlan) -> Summary:
    """Particles on the network grid."""
    return stages.find_instances(plan, run_progress(plan.job.scan))


@_stage("labels")
def label_scan(plan: SegmentPlan, found: Summary) -> Summary:
    """The label image of the scan."""
    return stages.label_scan(plan, found, run_progress(plan.job.scan))


@_stage("measure")
def measure_scan(plan: SegmentPlan, labelled: Summary) -> Summary:
    """The particle table."""
    return stages.measure_scan(plan, labelled, run_progress(plan.job.scan))


@_stage("report")
def report_scan(plan: SegmentPlan) -> Summary:
    """The report."""
    return stages.report_scan(plan, run_progress(plan.job.scan))


@_stage("finish")
def finish_run(plan: SegmentPlan, summaries: dict[str, Summary]) -> RunRecord:
    """Write run.json."""
    return stages.finish_run(plan, summaries)


@_stage("show")
def show_results(plan: SegmentPlan, record: RunRecord) -> RunRecord:
    """Leave pictures, sizes and places on the page of the run; `record` again."""
    artifacts.show_results(plan, record)
    return record
