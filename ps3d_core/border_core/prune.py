"""Last step: drop specks and what is uncertain, give the rest ids without gaps, write the label image.

Ids are 1..N in the order of the cores, then of the coreless components. Particles with fewer voxels than a share of
the mean over all particles are dropped, and where a model says what a particle has to be, two other kinds:

    uncertain   noise that a network takes for particles is small, and the network is not sure of it
    long        the wall of a tube is as bright as particles, and what a network takes for some is a thin sheet of it,
                many times as long as a particle of its size

All of it comes down to one table from component to id, so the image is written once, in blocks of its own shards, and
does not show how the work before was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.classes import CERTAIN
from ps3d_core.border_core.coreless import MergeCoreless, coreless_numbers
from ps3d_core.border_core.cores import NumberCores
from ps3d_core.border_core.output import claim_output, output_blocks
from ps3d_core.border_core.part import BlockPart, TablePart
from ps3d_core.border_core.pieces import check_ids, number_labels
from ps3d_core.border_core.rounds import GrowCores, GrownLabels
from ps3d_core.border_core.seams import Labels
from ps3d_core.border_core.voxel_counts import LabelMeasures, no_reach, relative_lengths
from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Context, Nothing, Outcomes
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import object_shape, open_array, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Ids(NamedTuple):
    """Particle ids, uint32, 0 for what is dropped: by core number (entry 0 is background), by coreless serial."""

    cores: Labels
    coreless: Labels


def is_large(voxels: Integers, min_rel_particle_size: float) -> Mask:
    """Return which particles of (n,) `voxels` have at least this share of the mean number of voxels."""
    return np.asarray(voxels >= min_rel_particle_size * (voxels.sum() / max(1, len(voxels))))


def is_sure(voxels: Integers, certainty: Integers, least: float | None) -> Mask:
    """Return which particles have voxels whose class is on average as probable as `least`; all where that is None.

    `certainty` is the sum over a particle's `voxels`, 255 for each that is certain.
    """
    return np.asarray(certainty >= CERTAIN * (least or 0.0) * voxels)


def is_compact(voxels: Integers, reach: Integers, most: float | None) -> Mask:
    """Return which particles are at most `most` diameters long; all where that is None or 0.

    Diameters are those of `relative_lengths`, `reach` (6, n) is that of `no_reach`.
    """
    return np.asarray(relative_lengths(voxels, reach) <= (most or np.inf))


def dense_ids(kept: Mask) -> Labels:
    """Return ids 1..N of the particles that are kept, in their order, uint32, and 0 for the others.

    Raise `InputError` when there are more particles than 32-bit ids.
    """
    check_ids(len(kept))
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)


class Numbered(BaseModel):
    """Counts of the particles that are kept and dropped."""

    model_config = ConfigDict(frozen=True)

    particles: int
    dropped: int = Field(description="particles that were too small")
    unsure: int = Field(description="particles that were large enough, and too uncertain")
    unsure_voxels: int = Field(default=0, description="of those that were too uncertain")
    long: int = Field(description="particles that were large and certain enough, and too long")
    voxels: int = Field(description="of all particles together")


@dataclass(frozen=True)
class NumberParticles(TablePart[Numbered]):
    """Step that drops particles that are too small, too uncertain or too long, and gives the others ids."""

    numbers: NumberCores
    growth: GrowCores
    coreless: MergeCoreless

    name, title, found = "ids", "number particles", Numbered

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the table, and of what is known of each particle."""
        known = self.plan.certainty
        return super().outputs | ({} if known is None else {"certainties": known.particles})

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Smallest share of the mean number of voxels with which a particle is kept, and what else it has to be."""
        return (self.plan.params.min_rel_particle_size, *self.plan.particle_rule)

    def make(self, done: Outcomes, context: Context) -> Numbered:
        """Count the voxels of every particle over all blocks, and write the table of ids."""
        params = self.plan.params
        grown, cores = done.of(GrowCores), self.growth.count_cores(done)
        coreless = coreless_numbers(self.coreless.table)
        of_cores, reach = np.zeros((2, cores + 1), np.int64), no_reach(cores + 1)
        for index in range(len(self.plan.blocks())):
            block = LabelMeasures(**self.growth.voxels_of(grown, index).read_arrays())
            of_cores[:, block.ids] += (block.voxels, block.certainty)
            reach[:, block.ids] = np.minimum(reach[:, block.ids], block.reach)
        voxels, certainty = np.concatenate((of_cores[:, 1:], (coreless.voxels, coreless.certainty)), axis=1)
        reach = np.concatenate((reach[:, 1:], coreless.reach), axis=1)
        large = is_large(voxels, params.min_rel_particle_size)
        sure = large & is_sure(voxels, certainty, params.least_certainty)
        kept = sure & is_compact(voxels, reach, params.greatest_length)
        ids, none = dense_ids(kept), np.zeros(1, np.uint32)
        self.table.write_arrays(
            cores=np.concatenate((none, ids[:cores])),
            coreless=np.concatenate((none, ids[cores:]))[coreless.numbers],
        )
        if self.plan.certainty is not None:
            self.plan.certainty.particles.write_arrays(voxels=voxels[kept], certainty=certainty[kept])
        return Numbered(
            particles=int(kept.sum()),
            dropped=int((~large).sum()),
            unsure=int((large & ~sure).sum()),
            unsure_voxels=int(voxels[large & ~sure].sum()),
            long=int((sure & ~kept).sum()),
            voxels=int(voxels[kept].sum()),
        )


@dataclass(frozen=True)
class WriteLabels(BlockPart[Nothing]):
    """Step that writes the ids of all particles that are large enough to the output."""

    growth: GrowCores
    coreless: MergeCoreless
    ids: NumberParticles

    name, title, found = "write-labels", "write labels", Nothing

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Place of the output: what is written to one says nothing of another."""
        return (self.plan.output.seen_from(self.plan.work),)

    @property
    def volume(self) -> Location:
        """Array of the particle ids, the output."""
        return self.plan.output

    def grid(self, context: Context) -> BlockGrid:
        """Return blocks of the output's own shards, about as large as the plan's."""
        return output_blocks(self.plan.output, self.plan.shape, self.plan.block_shape)

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Take the output over, unless it is what these blocks have begun."""
        claim_output(self.plan.output, self.plan.shape, self.fingerprint, ledger)

    def work(self, block: Block, site: Site) -> Record:
        """Write the ids of one block, a few planes at a time."""
        grown = site.done.of(GrowCores)
        output, labels_of = open_array(self.plan.output, writable=True), GrownLabels(self.growth, grown)
        for slab in block.core.slabs(object_shape(output)[0]):
            labels = np.empty(slab.shape, np.uint32)
            labels_of.read(slab, labels)
            self._to_ids(labels, slab, with_pieces=bool(grown.pending))
            write_box(output, slab, labels)
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Nothing:
        """Return the empty finding."""
        return Nothing()

    def _to_ids(self, labels: Labels, box: Box, *, with_pieces: bool) -> None:
        # In place, and in this order: the id of a core is never above its number, so it is not taken for a piece.
        ids = read_ids(self.ids.table)
        _replace(labels, ids.cores)
        if with_pieces:
            offsets = coreless_numbers(self.coreless.table).offsets
            number_labels(labels, box, self.plan.blocks(), offsets, ids.coreless, labels, above=len(ids.cores) - 1)


@lru_cache(maxsize=1)
def read_ids(location: Location) -> Ids:
    """Return the table from components to ids. Kept between blocks: its location's name is a fingerprint of it."""
    return Ids(**location.read_arrays())


@njit(nogil=True, cache=True)
def _replace(labels: Labels, ids: Labels) -> None:
    """Put the id in the place of every label that the table knows."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if labels[z, y, x] < ids.shape[0]:
                    labels[z, y, x] = ids[labels[z, y, x]]
