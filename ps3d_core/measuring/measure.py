"""Labels in, particle table out: sums per block, merged sums, whole particles where columns need them, table.

Measurement          base of the steps that measure: sums per label and block, one file per block, and the table
GivenLabels          step for labels that somebody gives
measure_particles    labels that somebody gives, measured once; `measure_sample` with more columns
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.composition.find import FindPhases
from ps3d_core.contacts.per_particle import ParticleContacts
from ps3d_core.contacts.step import GivenContacts
from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Found_co, Outcome, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import StatedSpacing, one_if_equal
from ps3d_core.measuring.beside import beside_table, withdraw_others
from ps3d_core.measuring.chosen import Chosen, chosen, decides, measures_of
from ps3d_core.measuring.composed import CompositionFile
from ps3d_core.params import MeasureParams
from ps3d_core.particles import table
from ps3d_core.particles.boxes import write_boxes
from ps3d_core.particles.by_label import BlockValues, ByLabel
from ps3d_core.particles.distribution import SizeDistribution, size_distribution, volume_of
from ps3d_core.particles.doubt import Sureness, doubt_columns
from ps3d_core.particles.exact_sums import MAX_VALUES
from ps3d_core.particles.merged import merged_sums
from ps3d_core.particles.padded import HALO, read_padded
from ps3d_core.particles.plausible import doubt_about
from ps3d_core.particles.sample import GREY, Sample
from ps3d_core.particles.shape import DIRECTIONS, Columns, axis_directions, particle_columns
from ps3d_core.particles.sums import LabelSums
from ps3d_core.particles.surface import kinds_of_directions
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.particles.whole_pass import WholeParticles, with_room
from ps3d_core.region.region import Region
from ps3d_core.store.arrays import read_box
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 1
"""Raise when a change of the code changes what is measured: finished work of older code is then redone."""


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
    @abstractmethod
    def identity(self) -> str:
        """Digest of the contents of everything that is measured."""

    @property
    @abstractmethod
    def params(self) -> MeasureParams:
        """Which columns the table has, and what they need to know."""

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of what is measured and of how it is written; those of whole particles are among the parameters."""
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

    def about(self, shape: Shape) -> table.About:
        """Return what the table says of its scan; `shape` is that of the label image."""
        return table.About(shape=shape, spacing=self.sample.spacing, origin=self.sample.origin)

    def make(self, done: Outcomes, context: Context) -> Found_co:
        """Sum up every block and measure whole particles where columns need that; write the table."""
        site = self.site(self.grid(context), done)
        records = self.records(site, context)
        site = self.examined(records, site)
        if measures := self.choice(done).measures:
            write_boxes(merged_sums(records, site), site.grid, self._boxes(site))
            outcome = Outcome(self._whole(site).make(done, with_room(context, self.sample, measures)), 0.0)
            site = replace(site, done=Outcomes(site.done | {WholeParticles.name: outcome}))
        return self.merge(records, site)

    def choice(self, done: Outcomes) -> Chosen:
        """Return the columns of the table and the measures of whole particles; `done` knows phases that were found."""
        found = done.of(FindPhases).phases if self.params.find_phases is not None else None
        return chosen(self.params, found or self.params.stated())

    def examined(self, records: Sequence[Record], site: Site) -> Site:
        """Return the site with what speaks against the labels; raise `InputError` when they are no particles.

        This comes before particles are measured as wholes. By default nothing is asked.
        """
        return site

    def write_table(self, records: Sequence[Record], site: Site, known: Sureness | None = None) -> ParticleSummary:
        """Write the table of all particles, Parquet and CSV, and return their summary.

        `known` is what is known of them beside their voxels.
        """
        sample, shape = self.sample, site.grid.shape
        schema = table.schema_of(self.choice(site.done).columns, self.about(shape))
        totals = _Totals(sample, shape, known, self._beside(site))
        rows = totals.tables(merged_sums(records, site), schema)
        table.write_table(rows, self.outputs["parquet"], self.outputs["csv"], schema)
        return totals.summary()

    def neighbour_values(self, site: Site) -> ByLabel:
        """Return the columns of what touches what; asked for only where these are chosen."""
        raise NotImplementedError

    def _beside(self, site: Site) -> list[ByLabel]:
        """Columns that do not come of the sums."""
        others: list[ByLabel] = []
        choice = self.choice(site.done)
        if choice.takes("all"):
            others.append(self.neighbour_values(site))
        if choice.measures:
            whole = self._whole(site)
            others.append(BlockValues(site.done.of(WholeParticles).blocks, whole.site(site.grid)))
        return others

    def _whole(self, site: Site) -> WholeParticles:
        measures, boxes = self.choice(site.done).measures, self._boxes(site)
        return WholeParticles(self.sample, measures, self.identity, self.folder, site.grid, boxes)

    def _boxes(self, site: Site) -> Location:
        return site.place / "boxes"


class Foreign(NamedTuple):
    """Labels that somebody gave, which may be no particles.

    name: what they are called where that is said.
    as_they_are: say it and go on, in place of a refusal.
    """

    name: str
    as_they_are: bool = False


class Doubted(BaseModel):
    """What speaks against labels that somebody gave, after the first look at all of them."""

    model_config = ConfigDict(frozen=True)

    text: str | None


_DOUBTED: Final = "doubted"
"""Name of that among what was found before the table."""


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
        identities: what tells the contents of its labels and of its images from others.
        output: folder of the table.
        place: folder of the ledgers, and of the sums of blocks.
        foreign: says that the labels may be no particles.
        block_shape: of blocks, (z, y, x); the largest that is good and fits when absent.
        told: which columns the table has, and what they need to know.
        contacts: step before this one that finds what touches what, where columns ask for that.
        phases: step before this one that finds phases, where they are to be found.

    """

    given: Sample
    identities: tuple[str | None, ...]
    output: Location
    place: Location
    foreign: Foreign | None = None
    block_shape: Shape | None = None
    told: MeasureParams = field(default_factory=MeasureParams)
    contacts: GivenContacts | None = None
    phases: FindPhases | None = None

    name, found = "measure", Measured

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Contents of the images, the edge of a voxel, what is refused, and where the table is."""
        refused = None if self.foreign is None else not self.foreign.as_they_are
        place = self.output.seen_from(self.place)
        return (*self.identities, self.given.spacing, refused, place, *decides(self.told))

    @property
    def identity(self) -> str:
        """Digest of the contents of labels and images."""
        return fingerprint(*self.identities)

    @property
    def params(self) -> MeasureParams:
        """Which columns the table has, and what they need to know."""
        return self.told

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

    def neighbour_values(self, site: Site) -> ByLabel:
        """Return the columns of what touches what."""
        return ParticleContacts(self.output / "contacts.parquet")

    def examined(self, records: Sequence[Record], site: Site) -> Site:
        """Return the site with what speaks against the labels; raise `InputError` when they are no particles."""
        if self.foreign is None:
            return site
        doubt = doubt_about(merged_sums(records, site), site.grid.shape)
        if doubt and doubt.certain and not self.foreign.as_they_are:
            raise InputError(
                f"{self.foreign.name}: {doubt.text}",
                "give one number per particle and 0 for background",
                "measure them as they are with <any_labels>",
            )
        doubted = Outcome(Doubted(text=doubt.text if doubt else None), 0.0)
        return replace(site, done=Outcomes(site.done | {_DOUBTED: doubted}))

    def merge(self, records: Sequence[Record], site: Site) -> Measured:
        """Write the table and return its summary, and doubts."""
        doubted = site.done.get(_DOUBTED)
        doubt = doubted.found.text if doubted is not None and isinstance(doubted.found, Doubted) else None
        withdraw_others(self.output, beside_table(self.told), self.told)
        return Measured(summary=self.write_table(records, site), doubt=doubt)


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
    sample = Sample(labels, image, one_if_equal(spacing))
    return measure_sample(sample, output, work=work, foreign=foreign, block_shape=block_shape, context=context)


def measure_sample(
    sample: Sample,
    output: Location,
    *,
    work: Location,
    params: MeasureParams | None = None,
    foreign: Foreign | None = None,
    block_shape: Shape | None = None,
    context: Context | None = None,
) -> ParticleSummary:
    """Measure all particles of a sample as `measure_particles` does, and what `params` ask for besides.

    With all columns, contacts.parquet, contacts.csv and packing.csv are written, too. Raise `InputError` for images
    that do not fit together, and labels that cannot be.
    """
    context = context or Context()
    places = (sample.labels, sample.image, *(place for _, place in sample.others))
    identities = tuple(None if place is None else content_identity(place) for place in places)
    told = params or MeasureParams()
    _require_images(sample, told)
    contacts = phases = None
    if told.columns == "all":
        contacts = GivenContacts(sample.labels, str(identities[0]), sample.spacing, output, work, Region(), block_shape)
    if told.find_phases is not None:
        name = told.find_in or GREY
        image, number, file = sample.named_images[name], told.find_phases, output / "phases.json"
        identity = fingerprint(identities[0], identities[places.index(image)])
        phases = FindPhases(sample.labels, image, identity, number, work, file, told.blur_voxels, name)
    step = GivenLabels(sample, identities, output, work, foreign, block_shape, told, contacts, phases)
    composed = None
    if told.given:
        table = step.outputs["parquet"]
        composed = CompositionFile(step, table, output / "composition.csv", work, told.sizes)
    steps = [each for each in (contacts, phases, step, composed) if each is not None]
    found = Engine(work, steps).run_all(context).of(GivenLabels)
    if foreign is not None and found.doubt is not None:
        context.progress.note(f"{foreign.name}: {found.doubt}")
    return found.summary


def _require_images(sample: Sample, params: MeasureParams) -> None:
    """Raise `InputError` for an image that measures look at and that is not there."""
    wanted = {name for measure in measures_of(params, params.stated()) for name in measure.images}
    wanted |= set() if params.find_phases is None else {params.find_in or GREY}
    for name in sorted(wanted - sample.named_images.keys()):
        if name == GREY:
            raise InputError("phases are told apart by grey values, and there are none", "give the scan as <image>")
        raise InputError(f"image {name}: there is none of this name", "give it as NAME=PATH with <image>")


class _Totals:
    """The particles of a sample, table by table, and what remains of them for the summary."""

    def __init__(self, sample: Sample, shape: Shape, known: Sureness | None, beside: Sequence[ByLabel]) -> None:
        self._sample, self._shape, self._known, self._beside = sample, shape, known, beside
        self._voxels = [np.empty(0, np.int64)]
        self._touching = 0

    def tables(self, particles: Iterable[LabelSums], schema: pa.Schema) -> Iterator[pa.Table]:
        for sums in particles:
            columns = self._columns(sums)
            if DIRECTIONS[0].name in schema.names:
                columns |= axis_directions(sums, self._sample.spacing)
            for other in self._beside:
                columns |= other.of(sums.labels)
            self._voxels.append(sums.voxels)
            self._touching += int(columns["touches_border"].sum())
            yield table.arrow_table(columns, schema)

    def _columns(self, sums: LabelSums) -> Columns:
        """Columns that every table has."""
        spacing, origin, grey = self._sample.spacing, self._sample.origin, self._sample.image is not None
        columns = particle_columns(sums, self._shape, spacing, origin, grey=grey)
        if self._known is not None and (cut := self._known.cut) is not None:
            columns["touches_border"] |= cut[np.minimum(sums.labels, len(cut) - 1)]
        return columns | doubt_columns(columns, self._known)

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
