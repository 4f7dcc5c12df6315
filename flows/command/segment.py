"""`ps3d segment`: particles, table and report of scans, as a Prefect flow or directly."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ps3d_app.flows.command.fields import add_field, add_fields, given
from ps3d_app.flows.command.pdf import add_pdf, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ps3d_app.flows.failures import Failures
    from ps3d_core.inference.estimate import Pace
    from ps3d_core.inspection.record import Inspection
    from ps3d_core.plan import SegmentJob, SegmentPlan
    from ps3d_core.progress import Progress
    from ps3d_core.record import RunRecord
    from ps3d_core.store.layout import Result

PURPOSE = "find every particle of a scan: labels, table, report"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d segment data results                                  every scan of the dataset
  ps3d segment data results --name ore --quality fast        one scan; half of the time, less accurate
  ps3d segment data s3://bucket/results --device cuda --memory 32
  ps3d segment data results --pdf                            reports on paper, too
  ps3d segment data results --direct                         without Prefect: no server, no history

Results of scan NAME: OUTPUT/NAME/NAME.zarr (label image), particles.csv, particles.parquet, report.html, run.json, and
ro-crate-metadata.json, with which a repository of research data takes the folder as it is.

The plan, with memory and time, is printed before anything is computed. An interrupted run goes on where it stopped
when the same command is given again; a finished one is not repeated. Unless --direct is given, the run is recorded by
the Prefect API in PREFECT_API_URL or, without one, by a server that ps3d starts on this machine (see ps3d up)."""

PLANS_IN_FULL = 3
LEFT_OUT = {
    "dropped_as_too_small": "as too small",
    "dropped_as_unsure": "as uncertain",
    "dropped_as_too_long": "as too long, like pieces of a wall",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import InstancesParams, MeasureParams, PredictParams, Resources

    parser.add_argument("dataset", metavar="DATASET", help="dataset that ps3d ingest made")
    parser.add_argument("output", metavar="OUTPUT", help="folder or URL for the results, one folder per scan")
    parser.add_argument("--name", nargs="+", metavar="NAME", help="scans to segment (default: all)")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model", default="bundled", metavar="BUNDLE", help="bundled, or folder or URL of a model (default: bundled)"
    )
    add_field(network, PredictParams, "quality", help=_quality_help())
    add_fields(network, PredictParams, "folds", "mirror", "target_particle_size", "zscore", "allow_absurd")
    particles = parser.add_argument_group("particles")
    add_fields(particles, PredictParams, "particle_size", "particles", "roi")
    add_fields(particles, InstancesParams)
    add_fields(parser.add_argument_group("measures"), MeasureParams)
    machine = parser.add_argument_group("machine")
    add_fields(machine, PredictParams, "device", "engine", "precision", "batch_size")
    add_fields(machine, Resources)
    machine.add_argument("--direct", action="store_true", help="without Prefect")
    add_pdf(parser)
    machine.add_argument("--keep-work", action="store_true", help="keep the intermediates in OUTPUT/NAME/.work")


def _quality_help() -> str:
    """Return what a quality is, what each costs, and how accurate the bundled model is with it."""
    from ps3d_core.network.measured import bundled_accuracy, levels_text
    from ps3d_core.params import PredictParams

    field = PredictParams.model_fields["quality"]
    costs = f"network passes for the same volume, and the bundled model: {levels_text(bundled_accuracy())}"
    return f"{field.description}; {costs} (default: {field.default})"


def run(args: argparse.Namespace) -> None:
    """Segment the scans that are not finished yet."""

    def finish(result: Result, progress: Progress) -> None:
        printed(args, result.report, result.pdf, progress)

    segment_jobs(jobs_of(args), direct=args.direct, finish=finish)


def segment_jobs(
    jobs: Sequence[SegmentJob], *, direct: bool, finish: Callable[[Result, Progress], None] | None = None
) -> None:
    """Segment the scans that are not finished yet and print the results; one that fails does not stop the others.

    `finish` is called with each result that is whole.
    Raise `ScansFailedError` at the end when scans failed.
    """
    from ps3d_app.flows.command.terminal import shown
    from ps3d_app.flows.failures import Failures
    from ps3d_core.before import find_region, look_before, must_look
    from ps3d_core.plan import plan_segmentation

    with shown() as progress:
        failures = Failures()
        plans: list[SegmentPlan] = []
        for job in jobs:
            with failures.collected(job.scan):
                find_region(job, progress)
                if must_look(job):
                    tell_seen(look_before(job, progress), progress)
                plans.append(plan_segmentation(job))
        records = segment_planned(plans, failures, progress, direct=direct)
        if finish is not None:
            for plan, _ in records:
                finish(plan.job.result, progress)
    for plan, record in records:
        print_results(plan, record)
    failures.raise_any()


def tell_seen(seen: Inspection, progress: Progress) -> None:
    """Say what a look at a scan found."""
    from ps3d_app.flows.command.inspect import text_of

    for line in text_of(seen):
        progress.note(line)


def jobs_of(args: argparse.Namespace) -> list[SegmentJob]:
    """Return one job per scan that was asked for.

    Raise `InputError` when no scan is named and the dataset has none.
    """
    from ps3d_core.params import InstancesParams, MeasureParams, PredictParams, Resources, SegmentParams
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    dataset = Dataset(Location.parse(args.dataset))
    names = list(dict.fromkeys(args.name or dataset.require_names()))
    params = SegmentParams(
        predict=given(PredictParams, args), instances=given(InstancesParams, args), measure=given(MeasureParams, args)
    )
    resources = given(Resources, args)
    output = Location.parse(args.output)
    return [SegmentJob(dataset, name, output, args.model, params, resources, args.keep_work) for name in names]


def segment_planned(
    plans: Sequence[SegmentPlan], failures: Failures, progress: Progress, *, direct: bool
) -> list[tuple[SegmentPlan, RunRecord]]:
    """Segment the scans that are not finished yet; return plan and record of every scan that did not fail.

    Errors of scans are kept in `failures`.
    """
    from ps3d_core.outcome import finished_run, remove_leftovers
    from ps3d_core.pipeline import run_of

    records: dict[str, RunRecord] = {}
    todo: list[SegmentPlan] = []
    for plan in plans:
        with failures.collected(plan.job.scan):
            run = run_of(plan)
            if (record := finished_run(run)) is not None:
                remove_leftovers(run)
                progress.note(f"{plan.job.scan}: already segmented with these parameters")
                records[plan.job.scan] = record
            else:
                todo.append(run.plan)
    _announce(todo, progress)
    run_scans = _directly if direct else _as_flow
    records |= run_scans(todo, failures, progress) if todo else {}
    return [(plan, records[plan.job.scan]) for plan in plans if plan.job.scan in records]


def print_results(plan: SegmentPlan, record: RunRecord) -> None:
    """Print what was found in a scan and where it lies."""
    result, size = plan.job.result, record.counts["size"]["by_volume"]
    sizes = f", D10 {size['d10']:.3g}, D50 {size['d50']:.3g}, D90 {size['d90']:.3g} mm by volume" if size else ""
    left_out = [f"{n} {why}" for key, why in LEFT_OUT.items() if (n := record.counts.get(key))]
    print(f"{plan.job.scan}: {record.particles} particles{sizes}")
    if verdict := record.counts.get("verdict"):
        print(f"  {verdict['grade']}: {verdict['sentence']}")
        for reason in verdict["reasons"]:
            print(f"    {reason}")
    if plan.region_text:
        print(f"  region  {plan.region_text}")
    if left_out:
        print(f"  left out {', '.join(left_out)}")
    print(f"  labels  {result.labels}")
    print(f"  table   {result.table_csv} (and .parquet)")
    print(f"  report  {result.report}")
    if result.pdf.exists():
        print(f"  pdf     {result.pdf}")


def _announce(plans: Sequence[SegmentPlan], progress: Progress) -> None:
    """Print the plans before anything is done."""
    from ps3d_core.before import look_before, should_look
    from ps3d_core.inference.estimate import measured_pace
    from ps3d_core.plan import patches_at_once, prediction_workers

    if not plans:
        return
    predict, resources = plans[0].job.params.predict, plans[0].job.resources
    pace = measured_pace(
        plans[0].bundle,
        plans[0].computation,
        folds=predict.folds,
        mirrorings=predict.level.mirrorings,
        at_once=patches_at_once(resources),
        workers=prediction_workers(resources, plans[0].computation.device),
    )
    # A look at the air of every scan would be a long wait before anything begins.
    empty = [plan.empty_share() if len(plans) <= PLANS_IN_FULL else 0.0 for plan in plans]
    for line in plan_lines(plans, pace, empty):
        progress.note(line)
    for plan in plans:
        if should_look(plan):
            tell_seen(look_before(plan.job, progress), progress)


def plan_lines(plans: Sequence[SegmentPlan], pace: Pace, empty: Sequence[float]) -> list[str]:
    """Return the plans as text for a person, in one line each where there are many; at last what they take together.

    `empty` is, of each plan, the share of patches that are skipped.
    """
    from ps3d_core.duration import duration_text

    described = [plan.describe(pace, share) for plan, share in zip(plans, empty, strict=True)]
    if len(plans) > PLANS_IN_FULL:
        described = [
            [f"{first}; {plan.prediction.evaluated} patches; {last}"]
            for plan, (first, *_, last) in zip(plans, described, strict=True)
        ]
    lines = [line for lines in described for line in lines]
    if len(plans) > 1:
        seconds = sum(sum(plan.seconds(pace, share)) for plan, share in zip(plans, empty, strict=True))
        lines.append(f"together   {len(plans)} scans, about {duration_text(seconds)} here")
    return lines


def _directly(plans: Sequence[SegmentPlan], failures: Failures, progress: Progress) -> dict[str, RunRecord]:
    from ps3d_core.pipeline import segment

    records = {}
    for plan in plans:
        with failures.collected(plan.job.scan):
            records[plan.job.scan] = segment(plan.job, progress)
    return records


def _as_flow(plans: Sequence[SegmentPlan], failures: Failures, progress: Progress) -> dict[str, RunRecord]:
    from ps3d_app.flows.command.recorded import recorded
    from ps3d_core.outcome import finished_run
    from ps3d_core.pipeline import run_of

    with recorded(progress) as connected:
        # These import Prefect, whose settings the connection has made.
        from prefect.client.schemas.objects import State

        from ps3d_app.flows.segment_dataset import segment_dataset
        from ps3d_app.flows.segment_scan import segment_scan

        job = plans[0].job
        common = (job.model, job.params, job.resources, job.keep_work)
        dataset, output, scans = str(job.dataset.root), str(job.output), [plan.job.scan for plan in plans]
        if len(scans) == 1:
            state: State[Any] = segment_scan(dataset, scans[0], output, *common, return_state=True)
        else:
            state = segment_dataset(dataset, output, scans, *common, return_state=True)
        progress.note(connected.how_to_see(state.state_details.flow_run_id))
        with failures.collected(", ".join(scans)):
            state.result()
    return {plan.job.scan: record for plan in plans if (record := finished_run(run_of(plan))) is not None}
