"""Label images from the network grid back to the scan grid, in blocks.

Particles are pruned before, on the network grid, where sizes mean the same for every scan. On a coarser scan grid a
particle of a few voxels may lose every vote and vanish, so the last step counts again: blocks record the voxels per
id, and only if an id is missing the image is written a second time, from the same votes, with ids that are
dense again. Ids keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.output import claim_output, output_blocks
from ps3d_core.border_core.vote import Labels, LabelVote
from ps3d_core.border_core.voxel_counts import count_voxels
from ps3d_core.engine.block_size import largest_block
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import BLOCK_WORKER_BYTES, VOTE_SOURCE_BYTES, VOTE_TARGET_BYTES
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import open_array, read_box, write_box
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location

VERSION: Final = 1

# With a halo of one voxel, larger blocks save nothing.
GOOD_BLOCK_VOXELS: Final = 258**3  # 256 cubed and its halo


class Renumbering(NamedTuple):
    """Table from ids of the source to ids of the target.

    ids: (largest source id that is left + 1,) uint32, 0 for what vanished below it.
    voxels: of each target id.
    """

    ids: Labels
    voxels: npt.NDArray[np.int64]

    @property
    def is_identity(self) -> bool:
        """Flag that is true when the ids of the source were dense already, so that none changes."""
        return len(self.ids) == len(self.voxels) + 1


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
    def fingerprint(self) -> str:
        """Digest of everything that decides the votes."""
        return fingerprint("vote", VERSION, self.source_fingerprint, self.source_shape, self.target_shape)

    @property
    def counts(self) -> Location:
        """Folder of the voxels per id of each block, and of the table of ids."""
        mark = fingerprint(self.fingerprint, self.target.seen_from(self.work), self.block_shape)
        return self.work / "resample" / mark[:16]


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
    table = plan.counts / "ids.npz"
    counted = []

    def count() -> Record:
        counted.append(table)
        return _count(plan, _write(plan, None, runner, progress), table)

    Ledger(plan.work, "resample-ids", plan.counts.name).once(count, [table])
    renumbering = read_renumbering(table)
    if not (counted and renumbering.is_identity):
        _write(plan, None if renumbering.is_identity else table, runner, progress)
    particles = len(renumbering.voxels)
    return Resampled(
        particles=particles,
        # Not by the largest id in the table: those above it vanished, too.
        vanished=plan.particles - particles,
        voxels=int(renumbering.voxels.sum()),
    )


@lru_cache(maxsize=1)
def read_renumbering(location: Location) -> Renumbering:
    """Return the table of ids. Kept between blocks: the location's name is a fingerprint of the content."""
    return Renumbering(**location.read_arrays())


@dataclass(frozen=True, slots=True)
class _VoteBlock:
    plan: ResamplePlan
    table: Location | None

    def __call__(self, block: Block) -> Record:
        plan = self.plan
        vote = LabelVote(plan.source_shape, plan.target_shape)
        labels = vote(read_box(open_array(plan.source), vote.source_box(block.core)), block.core)
        if self.table is None:
            ids, voxels = count_voxels(labels)
            (plan.counts / f"{block.index}.npz").write_arrays(ids=ids, voxels=voxels)
        else:
            labels = read_renumbering(self.table).ids[labels]
        write_box(open_array(plan.target, writable=True), block.core, labels)
        return {}


def _write(plan: ResamplePlan, table: Location | None, runner: Runner | None, progress: Progress) -> BlockGrid:
    mark = plan.fingerprint if table is None else fingerprint("renumbered", plan.fingerprint)
    ledger = Ledger(plan.work, "resample-labels", fingerprint(mark, plan.target.seen_from(plan.work), plan.block_shape))
    claim_output(plan.target, plan.target_shape, mark, ledger)
    grid = output_blocks(plan.target, plan.target_shape, plan.block_shape)
    name = "resample labels" if table is None else "renumber labels"
    run_blocks(name, list(grid), _VoteBlock(plan, table), ledger=ledger, runner=runner, progress=progress)
    return grid


def _count(plan: ResamplePlan, grid: BlockGrid, table: Location) -> Record:
    voxels = np.zeros(1, np.int64)
    for index in range(len(grid)):
        counts = (plan.counts / f"{index}.npz").read_arrays()
        if len(counts["ids"]) and counts["ids"][-1] >= len(voxels):
            voxels = np.concatenate((voxels, np.zeros(int(counts["ids"][-1]) + 1 - len(voxels), np.int64)))
        voxels[counts["ids"]] += counts["voxels"]
    present = voxels > 0
    ids = np.where(present, np.cumsum(present), 0).astype(np.uint32)
    table.write_arrays(ids=ids, voxels=voxels[present])
    return {"particles": int(present.sum())}
