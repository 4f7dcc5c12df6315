"""Labels in, particle table out: sums per block, merged sums, table.

    Measurement          base of the steps that measure: sums per label and block, one file per block, and the table
    GivenLabels          step for labels that somebody gives
    merged_sums          sums of particles, some hundred thousand at a time, in order of their labels
    measure_particles    labels that somebody gives, measured once

Ids follow the order of first voxels, so neighbouring labels lie in few blocks, and merging reads each block's file
about once. Whatever the number of particles and in however many blocks they lie, it holds the sums of one file and
of a few ranges of labels, and of the other files that a range needs the labels alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Found_co
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, one_if_equal
from ps3d_core.memory_model import GREY_BYTES, LABELS_BYTES
from ps3d_core.particles import table
from ps3d_core.particles.distribution import SizeDistribution, size_distribution, volume_of
from ps3d_core.particles.doubt import Sureness, doubt_columns
from ps3d_core.particles.exact_sums import MAX_VALUES
from ps3d_core.particles.padded import HALO, read_padded
from ps3d_core.particles.plausible import doubt_about
from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.particles.surface import kinds_of_directions
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.particles.window import Window
from ps3d_core.scan.spacing import checked_spacing
from ps3d_core.store.arrays import read_box
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, open_image

VERSION: Final = 1
"""Raise when a change of the code changes what is measured: finished work of older code is then redone."""

LABELS_AT_ONCE: Final = 2**18
"""Particles merged at once, and with it the row groups of the Parquet file."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is measured: a label image (z, y, x), the grey values of the same scan, and the edge of a voxel.

    Attributes:
        labels: whole numbers, 0 is background.
        image: grey values of the same shape; without it the grey columns have no values.
        spacing: edges of a voxel, mm: one, or three (z, y, x).

    """

    labels: Location
    image: Location | None
    spacing: StatedSpacing

    @property
    def origin(self) -> Spacing:
        """Position (z, y, x) of the centre of the first voxel, mm."""
        return image_origin(self.labels)

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory per voxel of a block: values as they are stored, and what becomes of them."""
        cost = open_image(self.labels).dtype.itemsize + LABELS_BYTES
        return cost if self.image is None else cost + open_image(self.image).dtype.itemsize + GREY_BYTES

    def require_measurable(self, memory_bytes: int) -> None:
        """Raise `InputError` for images that do not fit together or into memory, and a spacing that cannot be."""
        checked_spacing(self.spacing)
        labels = open_image(self.labels)
        require_chunk_fits(labels, memory_bytes)
        if self.image is not None:
            grey = open_image(self.image)
            require_chunk_fits(grey, memory_bytes)
            if grey.shape != labels.shape:
                raise InputError(
                    f"{self.image}: shape {grey.shape}, labels have {labels.shape}; give the scan that was labelled"
                )


class ParticleSummary(BaseModel):
    """A sample of particles in a few figures."""

    model_config = ConfigDict(frozen=True)

    particles: int
    voxels: int = Field(description="voxels of all particles together")
    volume_mm3: float
    touching_border: int = Field(description="particles at the edge of the scan, which may have cut them")
    by_volume: SizeDistribution | None = Field(description="None when there are no particles")
    by_number: SizeDistribution | None


@dataclass(frozen=True)
class Measurement(BlockStep[Found_co]):
    """Base of the steps that measure a sample: blocks leave sums of their labels, the table is made of all of them."""

    title = "measure"
    halo = HALO

    @property
    @abstractmethod
    def sample(self) -> Sample:
        """What is measured."""

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of what is measured and of how it is written."""
        return (VERSION, table.VERSION)

    @property
    def volume(self) -> Location:
        """Label image."""
        return self.sample.labels

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory of a block: labels, and grey values where there are any."""
        return self.sample.bytes_per_voxel

    def grid(self, context: Context) -> BlockGrid:
        """Return how the label image is cut. Raise `InputError` for a sample that cannot be measured in such blocks."""
        self.sample.require_measurable(context.memory_bytes)
        grid = super().grid(context)
        if prod(grid.block_shape) > MAX_VALUES:
            raise InputError(f"block {grid.block_shape}: more than {MAX_VALUES} voxels; choose smaller blocks")
        return grid

    def work(self, block: Block, site: Site) -> Record:
        """Leave the sums of every label in one block; return how many labels there are, and the smallest."""
        labels, image = self.sample.labels, self.sample.image
        padded = read_padded(open_image(labels), block, str(labels))
        grey = None if image is None else read_box(open_image(image), block.core)
        sums = block_sums(padded, block.core.start, grey, kinds_of_directions(self.sample.spacing))
        site.file(block.index).write_arrays(**sums.to_arrays())
        return {"labels": len(sums.labels), "first": int(sums.labels[0]) if len(sums.labels) else None}

    def window(self, shape: Shape) -> Window:
        """Return what of the world the table shows; `shape` is that of the label image."""
        return Window(shape=shape, spacing=self.sample.spacing)

    def write_table(self, records: Sequence[Record], site: Site, known: Sureness | None = None) -> ParticleSummary:
        """Write the table of all particles, Parquet and CSV, and return their summary.

        `known` is what is known of them beside their voxels.
        """
        totals = _Totals(self.sample, site.grid.shape, known)
        particles, places, window = merged_sums(records, site), self.outputs, self.window(site.grid.shape)
        table.write_table(totals.tables(particles), places["parquet"], places["csv"], window=window)
        return totals.summary()


class Foreign(NamedTuple):
    """Labels that somebody gave, which may be no particles.

    name: what they are called where that is said.
    as_they_are: say it and go on, in place of a refusal.
    """

    name: str
    as_they_are: bool = False


class Measured(BaseModel):
    """What was found of labels that somebody gave."""

    model_config = ConfigDict(frozen=True)

    summary: ParticleSummary
    doubt: str | None = Field(description="why they may be no particles")


@dataclass(frozen=True)
class GivenLabels(Measurement[Measured]):
    """Step that measures labels that somebody gave.

    Attributes:
        given: what is measured.
        identities: what tells the contents of its labels and of its grey values from others.
        output: folder of the table.
        place: folder of the ledgers, and of the sums of blocks.
        foreign: says that the labels may be no particles.
        block_shape: of blocks, (z, y, x); the largest that is good and fits when absent.

    """

    given: Sample
    identities: tuple[str, str | None]
    output: Location
    place: Location
    foreign: Foreign | None = None
    block_shape: Shape | None = None

    name, found = "measure", Measured

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Contents of the images, the edge of a voxel, what is refused, and where the table is."""
        refused = None if self.foreign is None else not self.foreign.as_they_are
        return (*self.identities, self.given.spacing, refused, self.output.seen_from(self.place))

    @property
    def outputs(self) -> dict[str, Location]:
        """Files of the particle table, Parquet and CSV."""
        return {"parquet": self.output / "particles.parquet", "csv": self.output / "particles.csv"}

    @property
    def sample(self) -> Sample:
        """What is measured."""
        return self.given

    @property
    def folder(self) -> Location:
        """Folder of the ledgers, and of the sums of blocks."""
        return self.place

    def merge(self, records: Sequence[Record], site: Site) -> Measured:
        """Write the table and return its summary, and doubts. Raise `InputError` when the labels are no particles."""
        doubt = self.foreign and doubt_about(merged_sums(records, site), site.grid.shape)
        if self.foreign and doubt and doubt.certain and not self.foreign.as_they_are:
            raise InputError(
                f"{self.foreign.name}: {doubt.text}",
                "give one number per particle and 0 for background",
                "measure them as they are with <any_labels>",
            )
        return Measured(summary=self.write_table(records, site), doubt=doubt.text if doubt else None)


def measure_particles(
    labels: Location,
    output: Location,
    *,
    spacing: StatedSpacing,
    work: Location,
    image: Location | None = None,
    foreign: Foreign | None = None,
    block_shape: Shape | None = None,
    context: Context | None = None,
) -> ParticleSummary:
    """Measure all particles; write particles.parquet and particles.csv below `output`.

    Args:
        labels: label image (z, y, x), 0 is background.
        output: folder of the table.
        spacing: edges of a voxel, mm: one, or three (z, y, x).
        work: folder for the sums of blocks; blocks finished there are not measured again, nor is anything once the
            table is there as it was written.
        image: grey values of the same shape; without it the grey columns have no values.
        foreign: says that somebody gave the labels. They are refused when they are no particles but grey values, a
            mask, classes or a numbered background, and a note asks where particles may look so, too.
        block_shape: voxels per block (z, y, x); chosen to fit the memory when absent, and no byte depends on it.
        context: where blocks are evaluated, the memory of all workers together, and who hears of it.

    Raises:
        InputError: for images that do not fit together, and labels that cannot be.

    """
    context = context or Context()
    identities = content_identity(labels), None if image is None else content_identity(image)
    step = GivenLabels(Sample(labels, image, one_if_equal(spacing)), identities, output, work, foreign, block_shape)
    found = Engine(work, [step]).run_all(context).of(GivenLabels)
    if foreign is not None and found.doubt is not None:
        context.progress.note(f"{foreign.name}: {found.doubt}")
    return found.summary


def merged_sums(records: Sequence[Record], site: Site) -> Iterator[LabelSums]:
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
            sums = LabelSums.from_arrays(site.file(index).read_arrays())
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


class _Totals:
    """The particles of a sample, table by table, and what remains of them for the summary."""

    def __init__(self, sample: Sample, shape: Shape, known: Sureness | None) -> None:
        self._sample, self._shape, self._known = sample, shape, known
        self._voxels = [np.empty(0, np.int64)]
        self._touching = 0

    def tables(self, particles: Iterable[LabelSums]) -> Iterator[pa.Table]:
        spacing, origin, grey = self._sample.spacing, self._sample.origin, self._sample.image is not None
        for sums in particles:
            columns = particle_columns(sums, self._shape, spacing, origin, grey=grey)
            if self._known is not None and (cut := self._known.cut) is not None:
                columns["touches_border"] |= cut[np.minimum(sums.labels, len(cut) - 1)]
            columns |= doubt_columns(columns, self._known)
            self._voxels.append(sums.voxels)
            self._touching += int(columns["touches_border"].sum())
            yield table.arrow_table(columns)

    def summary(self) -> ParticleSummary:
        voxels, spacing = np.concatenate(self._voxels), self._sample.spacing
        return ParticleSummary(
            particles=len(voxels),
            voxels=int(voxels.sum()),
            volume_mm3=volume_of(int(voxels.sum()), spacing),
            touching_border=self._touching,
            by_volume=size_distribution(voxels, spacing, "volume"),
            by_number=size_distribution(voxels, spacing, "number"),
        )
