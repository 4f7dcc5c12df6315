"""`ps3d demo`: everything once, on a scan whose particles are known."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ps3d_core.phantom.params import PhantomParams
    from ps3d_core.progress import Progress
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

PURPOSE = "see everything work on a synthetic scan"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d demo                         in ps3d-demo/; a few minutes on two cores
  ps3d demo --workdir /tmp/demo     somewhere else

Makes WORKDIR/slices (the scan as TIFF slices), data (the dataset), results and truth. A second demo finds all this and
ends at once; an interrupted one continues."""

SCAN: Final = "demo"
SPACING_MM: Final = 0.02


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--workdir", default="ps3d-demo", metavar="DIR", help="where to work (default: ps3d-demo)")
    parser.add_argument("--direct", action="store_true", help="without Prefect")


def run(args: argparse.Namespace) -> None:
    """Run the demonstration."""
    from ps3d_app.flows.command.evaluate import lines_of
    from ps3d_app.flows.command.segment import print_results, segment_planned
    from ps3d_app.flows.command.terminal import duration, shown
    from ps3d_app.flows.failures import Failures
    from ps3d_core.engine.step import Context
    from ps3d_core.evaluation.evaluate import evaluate
    from ps3d_core.plan import SegmentJob, plan_segmentation
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    started = time.perf_counter()
    place = Location.parse(args.workdir)
    data, truth = Dataset(place / "data"), Dataset(place / "truth")
    failures = Failures()
    with shown() as progress:
        make_scan(place, data, truth, progress)
        plan = plan_segmentation(SegmentJob(data, SCAN, place / "results"))
        records = segment_planned([plan], failures, progress, direct=args.direct)
        failures.raise_any()
        evaluation = evaluate(
            plan.job.result.labels,
            truth.truth(SCAN),
            table=plan.job.result.table_parquet,
            context=Context(progress=progress),
        )
    print()
    for planned, record in records:
        print_results(planned, record)
    print()
    print("Against the truth of the synthetic scan:")
    for line in lines_of(evaluation):
        print(f"  {line}")
    print()
    print(f"Done in {duration(time.perf_counter() - started)}. Your own scan:")
    print("  ps3d ingest SLICES data --name NAME --spacing MM --particle-size MM")
    print("  ps3d segment data results")


def demo_params() -> PhantomParams:
    """Return the parameters of the demo's phantom: touching particles of two minerals in epoxy, inside a tube.

    Particles are larger than the bundled model wants them, so that the scan is resampled and the network has little
    to do: a few dozen patches, a minute on two cores.
    """
    from ps3d_core.phantom.params import Mineral, PhantomParams, Tube

    return PhantomParams(
        shape=(168, 134, 134),
        particle_size_voxels=28.0,
        seed=2024,
        minerals=(Mineral(grey=0.6, weight=3.0), Mineral(grey=0.8, weight=1.0)),
        tube=Tube(radius_voxels=60.0, wall_voxels=6.0),
    )


def make_scan(place: Location, data: Dataset, truth: Dataset, progress: Progress) -> None:
    """Write the demo's scan with its truth, export it as slices and ingest these; keep what an earlier demo finished.

    Raise `InputError` when anything lies in the way that is not an earlier demo's.
    """
    from ps3d_app.flows.command.demo_steps import Scene, steps_of
    from ps3d_core.engine.once import Engine
    from ps3d_core.engine.step import Context
    from ps3d_core.errors import InputError
    from ps3d_core.scan.authorship import slices_are_marked
    from ps3d_core.store.claim import Output, check_outputs, claimed
    from ps3d_core.store.ownership import mark_own, work_is_own, zarr_is_own

    work, slices = place / ".demo", place / "slices"
    scans = [Output(each, zarr_is_own) for each in (truth.image(SCAN), truth.truth(SCAN), data.image(SCAN))]
    outputs = [*scans, Output(slices, slices_are_marked)]
    check_outputs(outputs)
    with claimed("demo", [Output(work, work_is_own)], say=progress.note):
        if not work.exists() and (there := [output.place for output in outputs if output.place.exists()]):
            raise InputError(f"{there[0]}: is there already, and no demo made it", "choose another <workdir>")
        mark_own(work)
        steps = steps_of(Scene(SCAN, demo_params(), SPACING_MM, truth, slices, data))
        Engine(work, steps).run_all(Context(progress=progress))
