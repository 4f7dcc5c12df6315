"""Flow: one scan segmented and measured. Mirrors `ps3d_core.pipeline.segment` line for line."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.inspect import find_region, look_before
from ps3d_app.tasks.segment import finish_run, plan_segmentation, run_steps, show_results
from ps3d_core.before import has_to_find_region, must_look, should_look
from ps3d_core.network import BUNDLED
from ps3d_core.outcome import begin_run, finished_run, remove_leftovers
from ps3d_core.params import Resources, SegmentParams
from ps3d_core.pipeline import run_of
from ps3d_core.plan import SegmentJob
from ps3d_core.record import RunRecord
from ps3d_core.result import result_claimed
from ps3d_core.store.layout import Dataset


@flow(name="segment-scan", flow_run_name="segment {scan}", on_running=[at_work])
@form
def segment_scan(
    dataset: str,
    scan: str,
    output: str,
    model: str = BUNDLED,
    params: SegmentParams | None = None,
    resources: Resources | None = None,
    keep_work: bool = False,
) -> RunRecord:
    """Find and measure every particle of one scan: label image, particle table, report.

    A finished scan is answered at once; an interrupted one continues where it stopped.

    Args:
        dataset: Dataset that holds the scan: URL or absolute path; ingest-scan makes one.
        scan: Name of the scan in the dataset.
        output: Folder or URL for results; those of this scan go into a folder of its name below it.
        model: Model to use: bundled, or folder or URL of a model (ps3d model import makes one of nnU-Net's).
        params: Everything that decides the result.
        resources: What the run may use; the whole machine it runs on when left out.
        keep_work: Keep intermediates and the ledger (.work) after success.

    Returns:
        The content of run.json: counts, sizes, parameters, versions, timings.

    """
    job = SegmentJob(
        Dataset(place(dataset)),
        scan,
        place(output),
        model,
        params or SegmentParams(),
        resources or Resources(),
        keep_work,
    )
    if has_to_find_region(job):
        find_region(job)
    if must_look(job):
        look_before(job)
    plan = plan_segmentation(job)
    run = run_of(plan)
    if (record := finished_run(run)) is not None:
        remove_leftovers(run)
        get_run_logger().info("%s: already segmented with these parameters", scan)
        return show_results(plan, record)
    if should_look(plan):
        look_before(job)
    with result_claimed(job.result, run.parts, plan.inputs, get_run_logger().info):
        if (record := begin_run(run, get_run_logger().info)) is None:
            record = finish_run(run, run_steps(run))
    return show_results(plan, record)
