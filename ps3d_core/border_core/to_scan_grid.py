"""Label images from the network grid back to the scan grid, in blocks.

Particles are pruned before, on the network grid, where sizes mean the same for every scan. On a coarser scan grid a
particle of a few voxels may lose every vote and vanish, so the votes are counted again: blocks leave the voxels per
id, and only if an id is missing the image is written a second time, from the same votes, with ids that are
dense again. Ids keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Final, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.output import claim_output, output_blocks
from ps3d_core.border_core.prune import dense_ids
from ps3d_core.border_core.vote import Labels, LabelVote
from ps3d_core.border_core.voxel_counts import count_voxels
from ps3d_core.engine.block_size import largest_block
from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, DerivedStep, Found_co, Nothing, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import BLOCK_WORKER_BYTES, VOTE_SOURCE_BYTES, VOTE_TARGET_BYTES
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import open_array, read_box, write_box
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location

VERSION: Final = 1
"""Raise when a change of the code changes the labels: finished work of older code is then redone."""

# With a halo of one voxel, larger blocks save nothing.
GOOD_BLOCK_VOXELS: Final = 258**3  # 256 cubed and its halo


@dataclass(frozen=True, slots=True)
class ResamplePlan:
    """Checked job of resampling labels to another grid. Small and picklable.

    Attributes:
        source: array of ids (z, y, x), uint32.
        target: array of ids of `target_shape`, uint32; made unless it is there.
        work: folder of intermediates and ledger.
        particles: ids of the source.
        block_shape: least number of target voxels per block; whole shards of the target.
        source_fingerprint: what the source is made from.
        memory_bytes: modelled peak of one worker.

    """

    source: Location
    target: Location
    work: Location
    source_shape: Shape
    target_shape: Shape
    particles: int
    block_shape: Shape
    source_fingerprint: str
    memory_bytes: int

    @property
    def folder(self) -> Location:
        """Folder of everything that the votes leave: voxels per id, the table of ids, and ledgers."""
        return self.work / "resample"


def plan_resampling(
    source: Location,
    target: Location,
    work: Location,
    target_shape: Shape,
    *,
    particles: int,
    context: Context,
    block_shape: Shape | None = None,
    source_fingerprint: str | None = None,
) -> ResamplePlan:
    """Plan the stage for a source with this number of `particles`; read metadata only.

    Raises:
        InputError: for a source that is not a uint32 volume, a grid that is too large, or too small a budget.

    """
    array = open_array(source)
    if array.ndim != 3 or array.dtype != np.uint32:
        raise InputError(f"{source}: {array.dtype} of shape {array.shape}; labels are uint32 on 3 axes")
    if source == target:
        raise InputError(f"{target}: source and target are the same array; give another target")
    source_shape = cast(Shape, array.shape)
    LabelVote(source_shape, target_shape)
    bytes_per_voxel = VOTE_TARGET_BYTES + VOTE_SOURCE_BYTES * max(1.0, prod(source_shape) / prod(target_shape))
    if block_shape is None:
        block_shape = largest_block(
            target_shape,
            bytes_per_voxel=bytes_per_voxel,
            memory_bytes=context.memory_bytes,
            workers=context.runner.workers,
            halo=1,
            good_voxels=GOOD_BLOCK_VOXELS,
        )
    return ResamplePlan(
        source,
        target,
        work,
        source_shape,
        target_shape,
        particles,
        block_shape,
        source_fingerprint or content_identity(source),
        int(BLOCK_WORKER_BYTES + bytes_per_voxel * prod(side + 2 for side in block_shape)),
    )


class Resampled(BaseModel):
    """Particles on the target grid, in figures."""

    model_config = ConfigDict(frozen=True)

    particles: int
    vanished: int = Field(description="particles of the source without a voxel on the target grid")
    voxels: int = Field(description="of all particles together")


def resample_labels(plan: ResamplePlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> Resampled:
    """Write the labels on the target grid, ids 1..N without gaps, in the order of the source's ids."""
    votes = CountVotes(plan)
    engine = Engine(plan.folder, (votes, RenumberLabels(plan, votes)))
    counted = engine.run_all(Context(runner or Runner(), plan.memory_bytes, progress)).of(CountVotes)
    return Resampled(
        particles=counted.particles,
        # Not by the largest id in the table: those above it vanished, too.
        vanished=plan.particles - counted.particles,
        voxels=counted.voxels,
    )


def ids_on_target(plan: ResamplePlan, progress: Progress = SILENT) -> Labels:
    """Return the id on the target grid by id of the source, (n + 1,) uint32, 0 for those that vanished.

    It is read where resampling has left it, and found once more where the work folder is gone.
    """
    if (table := CountVotes(plan).table).exists():
        ids = read_ids(table)
        return np.pad(ids, (0, plan.particles + 1 - len(ids)))
    present = np.zeros(plan.particles + 1, np.bool_)
    blocks = output_blocks(plan.target, plan.target_shape, plan.block_shape)
    with progress.stage("count votes", len(blocks), "blocks") as stage:
        for block in blocks:
            present[count_voxels(elected(plan, block))[0]] = True
            stage.advance()
    return dense_ids(present)


class Counted(BaseModel):
    """Ids that have votes on the target grid, in figures."""

    model_config = ConfigDict(frozen=True)

    particles: int
    voxels: int = Field(description="of all particles together")
    dense: bool = Field(description="whether the ids have no gaps, so that none changes")


@dataclass(frozen=True)
class _ResampleStep(BlockStep[Found_co]):
    """Base of the steps that write the target, in blocks as large as the plan says."""

    plan: ResamplePlan

    @property
    def folder(self) -> Location:
        """Folder of both steps."""
        return self.plan.folder

    @property
    def volume(self) -> Location:
        """Array of the ids on the target grid."""
        return self.plan.target

    def grid(self, context: Context) -> BlockGrid:
        """Return blocks of the target's own shards, about as large as the plan's."""
        return output_blocks(self.plan.target, self.plan.target_shape, self.plan.block_shape)

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Take the target over, unless it is what these blocks have begun."""
        claim_output(self.plan.target, self.plan.target_shape, self.fingerprint, ledger)


@dataclass(frozen=True)
class CountVotes(_ResampleStep[Counted]):
    """Step that writes the elected ids as they are, and counts the voxels of each."""

    name, title, found = "votes", "resample labels", Counted

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the way from one grid to another."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the source, both grids, and where the target is: what one holds says nothing of another."""
        plan = self.plan
        return (plan.source_fingerprint, plan.source_shape, plan.target_shape, plan.target.seen_from(plan.work))

    @property
    def table(self) -> Location:
        """File of the table of ids, an .npz with "ids": uint32, by id of the source, 0 for what vanished."""
        return self.folder / f"ids-{self.fingerprint[:16]}.npz"

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the table of ids."""
        return {"ids": self.table}

    def keeps(self, found: BaseModel) -> bool:
        """Return whether the counts are all that is left of the votes: those with gaps are written over.

        Others are the result, so their blocks are asked every time whether what they wrote is whole.
        """
        return isinstance(found, Counted) and not found.dense

    def work(self, block: Block, site: Site) -> Record:
        """Write the elected ids of one block, and leave the voxels of each."""
        labels = elected(self.plan, block)
        ids, voxels = count_voxels(labels)
        site.file(block.index).write_arrays(ids=ids, voxels=voxels)
        write_box(open_array(self.plan.target, writable=True), block.core, labels)
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Counted:
        """Add up the blocks' counts and write the table of ids; return what was counted."""
        voxels = np.zeros(1, np.int64)
        for index in range(len(records)):
            counts = site.file(index).read_arrays()
            if len(counts["ids"]) and counts["ids"][-1] >= len(voxels):
                voxels = np.concatenate((voxels, np.zeros(int(counts["ids"][-1]) + 1 - len(voxels), np.int64)))
            voxels[counts["ids"]] += counts["voxels"]
        present = voxels > 0
        particles = int(present.sum())
        self.table.write_arrays(ids=dense_ids(present))
        return Counted(particles=particles, voxels=int(voxels.sum()), dense=len(voxels) == particles + 1)


@dataclass(frozen=True)
class RenumberLabels(DerivedStep[Nothing], _ResampleStep[Nothing]):
    """Step that writes the elected ids once more, without the gaps that vanished particles left."""

    votes: CountVotes

    name, title, found, kept = "renumbered", "renumber labels", Nothing, False

    def make(self, done: Outcomes, context: Context) -> Nothing:
        """Renumber what was elected, where it has gaps."""
        return Nothing() if done.of(CountVotes).dense else super().make(done, context)

    def work(self, block: Block, site: Site) -> Record:
        """Write the ids of one block."""
        labels = read_ids(self.votes.table)[elected(self.plan, block)]
        write_box(open_array(self.plan.target, writable=True), block.core, labels)
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Nothing:
        """Return the empty finding."""
        return Nothing()


def elected(plan: ResamplePlan, block: Block) -> Labels:
    """Return the ids of the source that win the votes in a block of the target, uint32."""
    vote = LabelVote(plan.source_shape, plan.target_shape)
    return vote(read_box(open_array(plan.source), vote.source_box(block.core)), block.core)


@lru_cache(maxsize=1)
def read_ids(location: Location) -> Labels:
    """Return the table of ids. Kept between blocks: the location's name is a fingerprint of the content."""
    ids: Labels = location.read_arrays()["ids"]
    return ids
