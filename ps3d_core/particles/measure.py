"""Labels in, particle table out: plan, sums per block, merged sums, table.

    plan_measurement     what will be read, in which blocks
    measure_blocks       sums per label and block, one file per block, each block once (ledger)
    merged_sums          sums of particles, some hundred thousand at a time, in order of their labels
    measure_particles    all of it, and a summary

Ids follow the order of first voxels, so neighbouring labels lie in few blocks, and merging reads each block's file
about once. Whatever the number of particles and in however many blocks they lie, it holds the sums of one file and
of a few ranges of labels, and of the other files that a range needs the labels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from operator import itemgetter
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid, block_shape_for
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import GREY_BYTES, LABELS_BYTES
from ps3d_core.particles.distribution import SizeDistribution, size_distribution
from ps3d_core.particles.exact_sums import MAX_VALUES
from ps3d_core.particles.padded import read_padded
from ps3d_core.particles.plausible import doubt_about
from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.particles.table import arrow_table, write_table
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import read_box
from ps3d_core.store.granule import reading_granule, require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 1
"""Raise when a change of the code changes what is measured: finished work of older code is then redone."""

HALO: Final = 1
GOOD_BLOCK_VOXELS: Final = 2**24
"""Larger blocks save next to no halo and only take memory that libraries need as well."""
LABELS_AT_ONCE: Final = 2**18
"""Particles merged at once, and with it the row groups of the Parquet file."""


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """Labels and grey values to measure, in which blocks, and where the sums go. Small and picklable."""

    labels: Location
    image: Location | None
    spacing: float
    grid: BlockGrid
    work: Location
    fingerprint: str

    @property
    def ledger(self) -> Ledger:
        """Ledger of finished blocks."""
        return Ledger(self.work, "measure", self.fingerprint)

    def sums(self, block_index: int) -> Location:
        """Return the file with the sums of one block."""
        return self.work / "sums" / self.fingerprint / f"{block_index}.npz"


class ParticleSummary(BaseModel):
    """A sample of particles in a few figures."""

    model_config = ConfigDict(frozen=True)

    particles: int
    voxels: int = Field(description="voxels of all particles together")
    volume_mm3: float
    touching_border: int = Field(description="particles at the edge of the scan, which may have cut them")
    by_volume: SizeDistribution | None = Field(description="None when there are no particles")
    by_number: SizeDistribution | None


class Foreign(NamedTuple):
    """Labels that somebody gave, which may be no particles.

    name: what they are called where that is said.
    as_they_are: say it and go on, in place of a refusal.
    """

    name: str
    as_they_are: bool = False


def measure_particles(
    labels: Location,
    output: Location,
    *,
    spacing: float,
    work: Location,
    image: Location | None = None,
    identity: str | None = None,
    foreign: Foreign | None = None,
    context: Context | None = None,
) -> ParticleSummary:
    """Measure all particles; write particles.parquet and particles.csv below `output`.

    Args:
        labels: label image (z, y, x), 0 is background.
        output: folder of the table.
        spacing: edge of a voxel, mm.
        work: folder for the sums of blocks; blocks finished there are not measured again.
        image: grey values of the same shape; without it the grey columns have no values.
        identity: what tells the contents of both images from others; worked out from the stores when absent.
        foreign: says that somebody gave the labels. They are refused when they are no particles but grey values, a
            mask, classes or a numbered background, and a note asks where particles may look so, too.
        context: where blocks are evaluated, the memory of all workers together, and who hears of it.

    Raises:
        InputError: for images that do not fit together, and labels that cannot be.

    """
    context = context or Context()
    plan = plan_measurement(labels, image=image, spacing=spacing, work=work, identity=identity, context=context)
    return measure_planned(plan, output, foreign=foreign, context=context)


def measure_planned(
    plan: MeasurementPlan, output: Location, *, foreign: Foreign | None = None, context: Context | None = None
) -> ParticleSummary:
    """Do what was planned; see `measure_particles`."""
    context = context or Context()
    records = measure_blocks(plan, runner=context.runner, progress=context.progress)
    if foreign is not None and (doubt := doubt_about(merged_sums(plan, records), plan.grid.shape)) is not None:
        if doubt.certain and not foreign.as_they_are:
            raise InputError(
                f"{foreign.name}: {doubt.text}",
                "give one number per particle and 0 for background",
                "measure them as they are with <any_labels>",
            )
        context.progress.note(f"{foreign.name}: {doubt.text}")
    totals = _Totals(plan)
    write_table(totals.tables(records), output / "particles.parquet", output / "particles.csv")
    return totals.summary()


def plan_measurement(
    labels: Location,
    *,
    image: Location | None,
    spacing: float,
    work: Location,
    block_shape: Shape | None = None,
    identity: str | None = None,
    context: Context | None = None,
) -> MeasurementPlan:
    """Check the inputs and choose blocks. Read metadata only."""
    if not 0 < spacing < 1000:
        raise InputError(f"spacing {spacing} mm: must be above 0 and below 1000; give the edge of a voxel in mm")
    context = context or Context()
    memory_bytes, workers = context.memory_bytes, context.runner.workers
    array = open_image(labels)
    shape = cast(Shape, array.shape)
    require_chunk_fits(array, memory_bytes)
    cost = array.dtype.itemsize + LABELS_BYTES
    if image is not None:
        grey = open_image(image)
        require_chunk_fits(grey, memory_bytes)
        cost += grey.dtype.itemsize + GREY_BYTES
        if grey.shape != shape:
            raise InputError(f"{image}: shape {grey.shape}, labels have {shape}; give the scan that was labelled")
    if block_shape is None:
        granule = reading_granule(array)
        voxels = min(MAX_VALUES, max(GOOD_BLOCK_VOXELS, prod(side + 2 * HALO for side in granule)))
        block_shape = block_shape_for(
            shape,
            granule,
            bytes_per_voxel=cost,
            memory_bytes=min(memory_bytes, workers * cost * voxels),
            workers=workers,
            halo=HALO,
        )
    if prod(block_shape) > MAX_VALUES:
        raise InputError(f"block {block_shape}: more than {MAX_VALUES} voxels; choose smaller blocks")
    identity = identity or fingerprint(content_identity(labels), image and content_identity(image))
    grid = BlockGrid(shape, block_shape, HALO)
    return MeasurementPlan(
        labels, image, spacing, grid, work, fingerprint(VERSION, identity, bool(image), shape, block_shape)
    )


def measure_blocks(plan: MeasurementPlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> list[Record]:
    """Write the sums of every block that has none yet; return one record per block with its smallest label."""
    return run_blocks(
        "measure", list(plan.grid), _MeasureBlock(plan), ledger=plan.ledger, runner=runner, progress=progress
    )


def merged_sums(plan: MeasurementPlan, records: Sequence[Record]) -> Iterator[LabelSums]:
    """Yield the sums of particles in rising order of label, at most `LABELS_AT_ONCE` of them at a time."""
    # Smallest label of each block that was not yielded yet.
    waiting = {index: int(record["first"]) for index, record in enumerate(records) if record["labels"]}
    while waiting:
        # The next labels, counted and not by their value: foreign labels may have gaps of any width.
        labels, stop = np.empty(0, np.uint32), 0
        ahead: dict[int, npt.NDArray[np.uint32]] = {}
        parts: list[LabelSums] = []
        for index, first in sorted(waiting.items(), key=itemgetter(1)):
            if len(labels) == LABELS_AT_ONCE and first > labels[-1]:
                break
            sums = LabelSums.from_arrays(plan.sums(index).read_arrays())
            ahead[index] = sums.labels[sums.labels >= first]
            labels = np.union1d(labels, ahead[index])[:LABELS_AT_ONCE]
            stop = int(labels[-1]) + 1
            parts = _folded([*parts, sums.between(first, stop)], stop)
        for index, own in ahead.items():
            later = own[own >= stop]
            if len(later):
                waiting[index] = int(later[0])
            else:
                del waiting[index]
        yield _merged(parts, stop)


def _folded(parts: list[LabelSums], stop: int) -> list[LabelSums]:
    """The `parts`, made one when they are many rows: a range may lie in any number of blocks."""
    rows = sum(len(part.labels) for part in parts)
    return [_merged(parts, stop)] if rows > 2 * LABELS_AT_ONCE else parts


def _merged(parts: list[LabelSums], stop: int) -> LabelSums:
    """Sums of the labels below `stop`, where the range has ended since a part was read."""
    return merge(part.between(0, stop) for part in parts)


@dataclass(frozen=True)
class _MeasureBlock:
    plan: MeasurementPlan

    def __call__(self, block: Block) -> Record:
        plan = self.plan
        padded = read_padded(open_image(plan.labels), block, str(plan.labels))
        image = None if plan.image is None else read_box(open_image(plan.image), block.core)
        sums = block_sums(padded, block.core.start, image)
        plan.sums(block.index).write_arrays(**sums.to_arrays())
        labels = sums.labels
        if len(labels) == 0:
            return {"labels": 0}
        return {"labels": len(labels), "first": int(labels[0])}


class _Totals:
    """The particles of a plan, table by table, and what remains of them for the summary."""

    def __init__(self, plan: MeasurementPlan) -> None:
        self._plan = plan
        self._voxels = [np.empty(0, np.int64)]
        self._touching = 0

    def tables(self, records: Sequence[Record]) -> Iterator[pa.Table]:
        plan = self._plan
        for sums in merged_sums(plan, records):
            columns = particle_columns(sums, plan.grid.shape, plan.spacing, grey=plan.image is not None)
            self._voxels.append(sums.voxels)
            self._touching += int(columns["touches_border"].sum())
            yield arrow_table(columns)

    def summary(self) -> ParticleSummary:
        voxels, spacing = np.concatenate(self._voxels), self._plan.spacing
        return ParticleSummary(
            particles=len(voxels),
            voxels=int(voxels.sum()),
            volume_mm3=int(voxels.sum()) * spacing**3,
            touching_border=self._touching,
            by_volume=size_distribution(voxels, spacing, "volume"),
            by_number=size_distribution(voxels, spacing, "number"),
        )
