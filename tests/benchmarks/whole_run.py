"""A run from ingest to report without its network: what everything around the network takes.

    python tests/benchmarks/whole_run.py [--side 512] [--particle-size 20.6] [--workers 2] [--runner threads|processes]
                                         [--repeat 1] [--store DIR] [--profile FILE]

A phantom is ingested from TIFF slices and segmented with the steps of the pipeline, only that the border-core labels are
those of the true particles: the scan is read, resampled and normalised as the network would see it, and the labels are
written as prediction writes them. With 20.6 voxels per particle the network grid is 3 % coarser than the scan per axis,
so that nothing is spared because both grids are the same.

Prints seconds, nanoseconds per voxel of the scan, and multiples of one labelling of the same volume with cc3d (6
neighbours, one core), measured in the same run. The limit to hold is 25 labellings for the whole run. The last line is
a digest of what was made, to be compared between releases, workers and runners.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import cc3d
import numpy as np
import tifffile

from ps3d_core import outcome
from ps3d_core.border_core.vote import vote_labels
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.geometry.boxes import Box
from ps3d_core.inference.plan import border_core_chunks, border_core_shards
from ps3d_core.inference.predict import Predicted
from ps3d_core.inference.sample import NetworkView, PaddedView
from ps3d_core.outcome import SegmentRun
from ps3d_core.params import IngestParams, Resources
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import run_of
from ps3d_core.plan import SegmentJob, SegmentPlan, plan_segmentation
from ps3d_core.progress import Event, Progress, StageFinished
from ps3d_core.result import result_claimed
from ps3d_core.scan.ingest import ingest
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.store.arrays import create_array, object_shape, open_array, read_box, write_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.training.targets import border_core

SCAN = "scan"
SPACING = 0.01
BORDER = 1.5
WARM_UP = 96
LIMIT = 25.0

Rows = dict[str, float]
"""Seconds by what took them."""


@dataclass(frozen=True)
class TrueBorderCore(BorderCore):
    """Step that reads the scan as prediction does and writes the classes of the true particles."""

    truth: Location

    def make(self, done: Outcomes, context: Context) -> Predicted:
        patches, grey = self.plan.prediction.patches, done.of(GreyValues).intensity
        network = NetworkView(open_image(self.plan.image), patches.shape)
        view = PaddedView(network, patches, grey)
        with context.progress.stage("read, resample, normalise", 1, "scans"):
            for slab in Box.of(patches.padded_shape).slabs(patches.stride[0]):
                view.read(slab)
        chunks, shards = border_core_chunks(patches.shape), border_core_shards(patches.shape)
        output = create_array(self.labels, patches.shape, np.uint8, chunks=chunks, shards=shards)
        truth = open_array(self.truth)
        rows = [(slab, read_box(truth, slab)) for slab in Box.of(patches.shape).slabs(object_shape(output)[0])]
        with context.progress.stage("write border-core", 1, "scans"):
            for slab, classes in rows:
                write_box(output, slab, classes)
        return Predicted(patches_evaluated=0, patches_constant=0, patches_unique=len(patches), forward_seconds=0)


def make_scan(place: Location, side: int, particle_size: float) -> None:
    """A phantom, and its grey values as a folder of TIFF slices, as scanners leave them."""
    phantom = PhantomParams(shape=(side,) * 3, particle_size_voxels=particle_size, seed=3, dtype="uint16")
    write_phantom(phantom, place / "phantom", SCAN, spacing=SPACING)
    array = open_image(Dataset(place / "phantom").image(SCAN))
    folder = Path(str(place)) / "slices"
    folder.mkdir()
    for slab in Box.of(array.shape).slabs(64):
        for z, plane in enumerate(read_box(array, slab), slab.start[0]):
            tifffile.imwrite(folder / f"{z:05d}.tif", plane)


def true_labels(place: Location) -> np.ndarray:
    """Ids of the phantom's particles on the scan grid."""
    array = open_image(Dataset(place / "phantom").truth(SCAN))
    return read_box(array, Box.of(array.shape))


def make_truth(place: Location, plan: SegmentPlan) -> Location:
    """The classes that a network without error would give."""
    shape = plan.prediction.patches.shape
    classes = border_core(vote_labels(true_labels(place), shape, ties="higher"), BORDER)
    write_box(create_array(place / "truth", shape, np.uint8), Box.of(shape), classes)
    return place / "truth"


def with_truth(run: SegmentRun, truth: Location) -> SegmentRun:
    """The run with the network replaced: every step is built anew on those before it."""
    steps: list[Step] = []
    for step in run.steps:
        if isinstance(step, BorderCore):
            steps.append(TrueBorderCore(step.plan, step.grey_values, truth))
            continue
        given = {name: next(s for s in steps if s.name == v.name) for name, v in vars(step).items() if isinstance(v, Step)}
        steps.append(type(step)(**{**vars(step), **given}))
    return SegmentRun(run.plan, tuple(steps))


class Clock:
    """Seconds of everything, as it comes: of stages as they say it, of the rest as it is asked for."""

    def __init__(self) -> None:
        self.rows: Rows = {}

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Measure the body, without the rows inside it."""
        started, before = time.perf_counter(), sum(self.rows.values())
        yield
        inside = sum(self.rows.values()) - before
        self.rows[name] = self.rows.get(name, 0.0) + time.perf_counter() - started - inside

    def hear(self, event: Event) -> None:
        if isinstance(event, StageFinished):
            self.rows[event.stage] = self.rows.get(event.stage, 0.0) + event.seconds


def ingested(place: Location, particle_size: float, clock: Clock) -> Dataset:
    """The slices as a scan of a dataset."""
    dataset = Dataset(place / "dataset")
    params = IngestParams(spacing=SPACING, particle_size=particle_size * SPACING)
    with clock.row("ingest"):
        ingest(str(place / "slices"), dataset, SCAN, params)
    return dataset


def segmented(job: SegmentJob, truth: Callable[[SegmentPlan], Location]) -> tuple[Rows, float]:
    """Segment with true border-core labels; return the seconds of all rows, and of all of it."""
    place = truth(plan_segmentation(job))
    clock = Clock()
    progress = Progress(clock.hear)
    started = time.perf_counter()
    with clock.row("plan"):
        plan = plan_segmentation(job)
    run = with_truth(run_of(plan), place)
    with clock.row("claim, finish, remove work"), result_claimed(job.result, run.parts, plan.inputs):
        outcome.begin_run(run)
        done = Outcomes()
        for step in run.steps:
            with clock.row(f"{step.name}: digests, ledger, rest"):
                done[step.name] = run.engine.run(step, done, run.context(progress))
        outcome.finish_run(run, done)
    return clock.rows, time.perf_counter() - started


def digest(job: SegmentJob) -> str:
    """Digest of voxels of all levels, and of both tables."""
    content = hashlib.sha256()
    for level in range(len(job.result.labels.children())):
        if (job.result.labels / str(level)).exists():
            array = open_array(job.result.labels / str(level))
            content.update(read_box(array, Box.of(array.shape)).data)
    for table in (job.result.table_parquet, job.result.table_csv, job.result.root / "contacts.parquet"):
        content.update(table.read_bytes())
    return content.hexdigest()


def labelling_seconds(labels: np.ndarray, repeats: int = 3) -> float:
    """Least seconds of one labelling of the foreground with cc3d, on one core."""
    foreground, seconds = labels > 0, []
    for _ in range(repeats):
        started = time.perf_counter()
        cc3d.connected_components(foreground, connectivity=6)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def print_rows(title: str, rows: Rows, voxels: int, labelling: float) -> None:
    print(f"{title:32}{'seconds':>9}{'ns/voxel':>10}{'labellings':>12}")
    for name, seconds in rows.items():
        print(f"{name:32}{seconds:9.2f}{seconds / voxels * 1e9:10.1f}{seconds / labelling:12.2f}")


def measure(place: Location, side: int, options: argparse.Namespace) -> float:
    """Make a scan, segment it, print the tables; return how many labellings the run took."""
    make_scan(place, side, options.particle_size)
    clock = Clock()
    dataset = ingested(place, options.particle_size, clock)
    labels = true_labels(place)
    resources = Resources(workers=options.workers, runner=options.runner, memory_gib=options.memory)
    voxels, ratios = prod(labels.shape), []
    for repeat in range(options.repeat):
        labelling = labelling_seconds(labels)
        job = SegmentJob(dataset, SCAN, place / f"output-{repeat}", resources=resources)
        rows, seconds = segmented(job, lambda plan: make_truth(place, plan) if repeat == 0 else place / "truth")
        print_rows(f"{side} cubed", {"cc3d labelling": labelling, **clock.rows, **rows}, voxels, labelling)
        print_rows("", {"run without the network": seconds}, voxels, labelling)
        print(f"digest {digest(job)}", flush=True)
        ratios.append(seconds / labelling)
    return min(ratios)


def main() -> None:
    """Measure one volume, after a small one for which kernels are compiled or loaded."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--particle-size", type=float, default=20.6, metavar="VOXELS")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runner", choices=("threads", "processes"), default="threads")
    parser.add_argument("--memory", type=float, default=6.0, metavar="GIB")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--store", type=Path, default=None, help="folder to work in; a temporary one when absent")
    parser.add_argument("--profile", type=Path, default=None, help="file for what cProfile finds in the main thread")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.store) as folder:
        place = Location.parse(Path(folder))
        print("kernels are compiled or loaded:")
        measure(place / "small", WARM_UP, options)
        print("measured:")
        profile = cProfile.Profile()
        ratio = profile.runcall(measure, place / "large", options.side, options) if options.profile else measure(
            place / "large", options.side, options
        )
        if options.profile:
            profile.dump_stats(options.profile)
    print(f"the run takes {ratio:.1f} labellings (limit {LIMIT:g})")


if __name__ == "__main__":
    main()
