"""The steps of a segmentation as Prefect tasks, under the titles they have in ps3d_core.

Tasks exchange the plan and small outcomes; voxels stay on the store. Caching is left to the core on purpose: its engine
keeps what every step found, and a ledger of finished blocks, with the data they describe, keyed on the fingerprint of
input and parameters, and answers in milliseconds when a step was done before. A second cache in Prefect could only
disagree with it, for instance when somebody deletes the results.
"""

from __future__ import annotations

from typing import Any

from prefect import Task

from ps3d_app.tasks import artifacts
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.step import step
from ps3d_core import outcome
from ps3d_core import plan as planning
from ps3d_core.engine.step import Outcome, Outcomes, Step
from ps3d_core.outcome import SegmentRun
from ps3d_core.plan import SegmentJob, SegmentPlan
from ps3d_core.record import RunRecord


@step("plan", of="{job.scan}")
def plan_segmentation(job: SegmentJob) -> SegmentPlan:
    """Check the job, work out its sizes and show them; return the plan."""
    plan = planning.plan_segmentation(job)
    artifacts.show_plan(job.scan, plan.describe(empty=plan.empty_share()))
    return plan


def run_steps(run: SegmentRun) -> Outcomes:
    """Run every step in order, as a task that has its title; return what they found."""
    done = Outcomes()
    for each in run.steps:
        done[each.name] = task_of(each)(run, Outcomes(done))
    return done


def task_of(of: Step[Any]) -> Task[[SegmentRun, Outcomes], Outcome]:
    """Return a task that does a step of the core, unless it is done."""

    def run_step(run: SegmentRun, done: Outcomes) -> Outcome:
        return run.engine.run(of, done, run.context(run_progress(run.plan.job.scan)))

    return step(of.title, of="{run.plan.job.scan}")(run_step)


@step("finish", of="{run.plan.job.scan}")
def finish_run(run: SegmentRun, done: Outcomes) -> RunRecord:
    """Write run.json and return its content."""
    return outcome.finish_run(run, done)


@step("show", of="{plan.job.scan}")
def show_results(plan: SegmentPlan, record: RunRecord) -> RunRecord:
    """Leave pictures, sizes and places on the page of the run; return `record` again."""
    artifacts.show_results(plan, record)
    return record
