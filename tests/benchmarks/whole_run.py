"""A run from ingest to report without its network: what everything around the network takes.

    python tests/benchmarks/whole_run.py [--side 512] [--particle-size 20.6] [--workers 2] [--runner threads|processes]
                                         [--repeat 1] [--store DIR] [--profile FILE]

A phantom is ingested from TIFF slices and segmented with the steps of the pipeline, only that the border-core labels
are those of the true particles: the scan is read, resampled and normalised as the network would see it, and the labels
are written as prediction writes them. With 20.6 voxels per particle the network grid is 3 % coarser than the scan along
every axis, so that nothing is spared because both grids are the same.

Prints seconds, nanoseconds per voxel of the scan, and multiples of one labelling of the same volume with cc3d (6
neighbours, one core), measured in the same run: by the clock on the wall, and of processors, which other work on the
machine disturbs less. The limit to hold is 25 labellings by the clock for the whole run on two cores. The last line is
a digest of what was made, to be compared between releases, workers and runners.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import cc3d
import numpy as np
import psutil
import tifffile

from ps3d_core import outcome
from ps3d_core.border_core.classes import CORE
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
from ps3d_core.progress import Event, Progress, StageFinished, StageStarted
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


@dataclass(frozen=True)
class Took:
    """Seconds by the clock on the wall, and of processors: of this process and of its workers together."""

    wall: float = 0.0
    cpu: float = 0.0

    @classmethod
    def now(cls) -> Took:
        workers = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
        return cls(time.perf_counter(), time.process_time() + sum(t.user + t.system for t in workers))

    def __add__(self, other: Took) -> Took:
        return Took(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Took) -> Took:
        return Took(self.wall - other.wall, self.cpu - other.cpu)


Rows = dict[str, Took]
"""By what took it."""


@dataclass(frozen=True)
class TrueBorderCore(BorderCore):
    """Step that reads the scan as prediction does and writes the classes of the true particles."""

    truth: Location
    """Array of the classes that a network without error would give; beside it, how certain it would be."""

    def make(self, done: Outcomes, context: Context) -> Predicted:
        patches, grey = self.plan.prediction.patches, done.of(GreyValues).intensity
        network = NetworkView(open_image(self.plan.image), patches.shape)
        view = PaddedView(network, patches, grey)
        with context.progress.stage("read, resample, normalise", 1, "scans"):
            for slab in Box.of(patches.padded_shape).slabs(patches.stride[0]):
                view.read(slab)
        chunks, shards = border_core_chunks(patches.shape), border_core_shards(patches.shape)
        output = create_array(self.labels, patches.shape, np.uint8, chunks=chunks, shards=shards)
        certainty = create_array(self.certainty, patches.shape, np.uint8, chunks=chunks, shards=shards)
        known = [(open_array(self.truth), output), (open_array(certainty_beside(self.truth)), certainty)]
        with context.progress.stage("write border-core", 1, "scans"):
            for slab in Box.of(patches.shape).slabs(object_shape(output)[0]):
                for source, target in known:
                    write_box(target, slab, read_box(source, slab))
        return Predicted(patches_evaluated=0, patches_constant=0, patches_unique=len(patches), forward_seconds=0)


def certainty_of(classes: np.ndarray) -> np.ndarray:
    """Certainty that varies from voxel to voxel, more so where there is a border."""
    spread = np.where(classes == CORE, 16, 96)
    return (255 - np.random.default_rng(0).integers(0, spread, dtype=np.uint8)).astype(np.uint8)


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
    truth = place / "truth"
    for array, values in ((truth, classes), (certainty_beside(truth), certainty_of(classes))):
        write_box(create_array(array, shape, np.uint8), Box.of(shape), values)
    return truth


def certainty_beside(truth: Location) -> Location:
    """Where the certainty of the true classes is."""
    return truth.parent / "certainty"


def with_truth(run: SegmentRun, truth: Location) -> SegmentRun:
    """The run with the network replaced: every step is built anew on those before it."""
    steps: list[Step] = []
    for step in run.steps:
        if isinstance(step, BorderCore):
            steps.append(TrueBorderCore(step.plan, step.grey_values, truth))
            continue
        given = {
            name: next(s for s in steps if s.name == v.name) for name, v in vars(step).items() if isinstance(v, Step)
        }
        steps.append(type(step)(**{**vars(step), **given}))
    return SegmentRun(run.plan, tuple(steps))


class Clock:
    """What every step and stage took, in the order in which they ended."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self._begun: dict[str, Took] = {}

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Measure the body, without the rows inside it."""
        started, before = Took.now(), self._sum()
        yield
        self._add(name, Took.now() - started - (self._sum() - before))

    def hear(self, event: Event) -> None:
        """Measure the stages of a run, none of which lies in another."""
        match event:
            case StageStarted(stage=stage):
                self._begun[stage] = Took.now()
            case StageFinished(stage=stage):
                self._add(stage, Took.now() - self._begun.pop(stage))

    def _add(self, name: str, took: Took) -> None:
        self.rows[name] = self.rows.get(name, Took()) + took

    def _sum(self) -> Took:
        return sum(self.rows.values(), Took())


def ingested(place: Location, particle_size: float, clock: Clock) -> Dataset:
    """The slices as a scan of a dataset."""
    dataset = Dataset(place / "dataset")
    params = IngestParams(spacing=SPACING, particle_size=particle_size * SPACING)
    with clock.row("ingest"):
        ingest(str(place / "slices"), dataset, SCAN, params)
    return dataset


def segmented(job: SegmentJob, truth: Location) -> tuple[Rows, Took]:
    """Segment with true border-core labels; return what all rows took, and the whole."""
    clock = Clock()
    progress = Progress(clock.hear)
    started = Took.now()
    with clock.row("plan"):
        plan = plan_segmentation(job)
    run = with_truth(run_of(plan), truth)
    with clock.row("claim, finish, remove work"), result_claimed(job.result, run.parts, plan.inputs):
        outcome.begin_run(run)
        done = Outcomes()
        for step in run.steps:
            with clock.row(f"{step.name}: digests, ledger, rest"):
                done[step.name] = run.engine.run(step, done, run.context(progress))
        outcome.finish_run(run, done)
    return clock.rows, Took.now() - started


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


def labelling(labels: np.ndarray, repeats: int = 3) -> Took:
    """The least that one labelling of the foreground with cc3d takes, on one core."""
    foreground, took = labels > 0, []
    for _ in range(repeats):
        started = Took.now()
        cc3d.connected_components(foreground, connectivity=6)
        took.append(Took.now() - started)
    return Took(min(t.wall for t in took), min(t.cpu for t in took))


def print_rows(title: str, rows: Rows, voxels: int, unit: Took) -> None:
    print(f"{title:34}{'seconds':>9}{'ns/voxel':>10}{'labellings':>12}{'CPU s':>9}{'ns/voxel':>10}{'labellings':>12}")
    for name, took in rows.items():
        sides = ((took.wall, unit.wall), (took.cpu, unit.cpu))
        print(f"{name:34}" + "".join(f"{t:9.2f}{t / voxels * 1e9:10.1f}{t / u:12.2f}" for t, u in sides))


def measure(place: Location, side: int, options: argparse.Namespace) -> list[float]:
    """Make a scan, segment it, print the tables; return how many labellings each run took."""
    make_scan(place, side, options.particle_size)
    clock = Clock()
    dataset = ingested(place, options.particle_size, clock)
    labels = true_labels(place)
    resources = Resources(workers=options.workers, runner=options.runner, memory_gib=options.memory)
    voxels, ratios = prod(labels.shape), []
    jobs = [SegmentJob(dataset, SCAN, place / f"output-{n}", resources=resources) for n in range(options.repeat)]
    truth = make_truth(place, plan_segmentation(jobs[0]))
    for job in jobs:
        unit = labelling(labels)
        rows, took = segmented(job, truth)
        again = labelling(labels)  # others may be at the machine, more at one time than at another
        unit = Took((unit.wall + again.wall) / 2, (unit.cpu + again.cpu) / 2)
        print_rows(f"{side} cubed", {"cc3d labelling": unit, **clock.rows, **rows}, voxels, unit)
        print_rows("", {"run without the network": took}, voxels, unit)
        print(f"digest {digest(job)}", flush=True)
        ratios.append(took.wall / unit.wall)
    return ratios


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
        ratios = (
            profile.runcall(measure, place / "large", options.side, options)
            if options.profile
            else measure(place / "large", options.side, options)
        )
        if options.profile:
            profile.dump_stats(options.profile)
    print(f"the run takes {', '.join(f'{ratio:.1f}' for ratio in ratios)} labellings (limit {LIMIT:g})")


if __name__ == "__main__":
    main()
