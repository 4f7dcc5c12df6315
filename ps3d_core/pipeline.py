"""Segmenting one scan from start to end, in one process: read this file first.

    scan  ->  border-core labels  ->  particles on the network grid  ->  label image  ->  table, verdict  ->  report
              (network)               (cores grow into borders)          (scan grid)

Every step works in blocks, goes on where a killed run stopped, and does nothing when its outcome is there and whole:
see `ps3d_core.engine.step`.
"""

from __future__ import annotations

from ps3d_core import outcome
from ps3d_core.before import find_region, look_before, must_look, should_look
from ps3d_core.outcome import SegmentRun
from ps3d_core.plan import SegmentJob, SegmentPlan, plan_segmentation
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord
from ps3d_core.result import result_claimed
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.certainty import ParticleCertainty
from ps3d_core.steps.composition import composition_step, phases_step
from ps3d_core.steps.contacts import ContactAreas
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.steps.report import ReportPage
from ps3d_core.steps.table import ParticleTable
from ps3d_core.steps.verdict import ScanVerdict


def run_of(plan: SegmentPlan) -> SegmentRun:
    """Return the run that does what was planned.

    Where what computes was left open, a run that was begun goes on with what began it, and what has finished is
    finished, whatever computed it: see `outcome.begun`.
    """
    return outcome.begun([steps_of(each) for each in plan.as_good])


def steps_of(plan: SegmentPlan) -> SegmentRun:
    """Return the steps of a segmentation, each built on those before it."""
    grey_values = GreyValues(plan)
    border_core = BorderCore(plan, grey_values)
    instances = Instances(plan, border_core)
    label_image = LabelImage(plan, instances)
    certainty = ParticleCertainty(plan, instances, label_image) if plan.bundle.info.calibration else None
    contacts = ContactAreas(plan, label_image)
    phases = phases_step(plan, label_image)
    table = ParticleTable(plan, label_image, contacts, certainty, phases)
    composed = composition_step(plan, table)
    verdict = ScanVerdict(plan, table)
    report = ReportPage(plan, table, verdict)
    steps = (
        *(grey_values, border_core, instances, label_image, certainty, contacts),
        *(phases, table, composed, verdict, report),
    )
    return SegmentRun(plan, tuple(step for step in steps if step is not None))


def segment(job: SegmentJob, progress: Progress = SILENT) -> RunRecord:
    """Segment and measure one scan; return the content of its run.json.

    Raise `InputError` for what cannot be used before anything is written, and `StoreError` when a store fails.
    """
    find_region(job, progress)
    if must_look(job):
        look_before(job, progress)
    plan = plan_segmentation(job)
    run = run_of(plan)
    if (record := outcome.finished_run(run)) is not None:
        outcome.remove_leftovers(run)
        progress.note(f"{job.scan}: already segmented with these parameters", record=record)
        return record
    if should_look(plan):
        look_before(job, progress)
    with result_claimed(job.result, run.parts, plan.inputs, progress.note):
        if (record := outcome.begin_run(run, progress.note)) is not None:
            return record
        return outcome.finish_run(run, run.engine.run_all(run.context(progress)))
