"""What the way from border-core labels to particles will do, known before it starts.

    step            reads                        writes, below work/instances
    label cores     border-core, halo 2          cores/F: labels, and measures and faces of each block's cores
    number cores    what blocks found            core-numbers-F.npz
    split cores     cores with necks             split-cores/F: voxels of split cores, by block, and numbers of parts
    grow cores      border-core, labels, halo h  grow-0001/F, grow-0002/F, ... until nothing changes
    merge coreless  what is still pending        coreless-F.npz
    number          counts of all rounds         ids-F.npz
    write labels    last rounds                  the output

F is the step's fingerprint: each place is written for one input and one set of parameters only, so nothing is ever
written over by another run's values, and a changed parameter leaves everything before it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any, Final, NamedTuple, cast

import numpy as np

from ps3d_core.border_core.output import refuse_foreign
from ps3d_core.engine.block_size import largest_block
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.memory_model import BLOCK_WORKER_BYTES, INSTANCES_BYTES
from ps3d_core.params import GIB, InstancesParams
from ps3d_core.store.arrays import SHARD, ensure_array
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, open_image

# Raise when a change of the code changes the result: finished work of older code is then redone.
VERSION: Final = 1

# Steps of growth per round. Borders are a few voxels thick, so one round nearly always reaches everything.
HALO: Final = 16

# Kernels number the runs of a block with 32 bits.
MAX_BLOCK_VOXELS: Final = 2**31 - 1


class Certainties(NamedTuple):
    """How certain a network was of border-core labels.

    voxels: array of how probable each class is, uint8, 255 for certain, of the labels' shape.
    particles: file for what that comes to, an .npz: "voxels" and "certainty", the sum over them, (n,) int64 by id.
    """

    voxels: Location
    particles: Location


@dataclass(frozen=True, slots=True)
class InstancesPlan:
    """Checked job: places, blocks and parameters of every stage. Small and picklable.

    Attributes:
        border_core: array of classes (z, y, x).
        certainty: how probable the classes are; None where nobody knows.
        output: array of particle ids, uint32, same shape.
        work: folder of intermediates and ledger.
        shape: voxels of the volume.
        block_shape: voxels that one unit of work writes.
        halo: steps of growth per round; a block reads this many voxels around it.
        params: what is too small for a core and for a particle, too uncertain or too long.
        input_fingerprint: what the border-core labels are made from.
        memory_bytes: modelled peak of one worker.

    """

    border_core: Location
    certainty: Certainties | None
    output: Location
    work: Location
    shape: Shape
    block_shape: Shape
    halo: int
    params: InstancesParams
    input_fingerprint: str
    memory_bytes: int

    def blocks(self, halo: int = 0) -> BlockGrid:
        """Return the blocks of all stages but the last, with `halo` voxels around each."""
        return BlockGrid(self.shape, self.block_shape, halo)

    def with_halo(self, halo: int) -> InstancesPlan:
        """Return the plan with `halo` steps of growth per round, at least 1; cut to the smallest side of a block."""
        cut = [side for side, n in zip(self.block_shape, self.shape, strict=True) if side < n]
        return replace(self, halo=max(1, min([halo, *cut])))

    @property
    def steps(self) -> int:
        """Number of growth steps per round.

        One block that is the whole volume has no edge, so it needs no second round.
        """
        return self.halo if len(self.blocks()) > 1 else prod(self.shape)

    @property
    def folder(self) -> Location:
        """Folder of everything that one step leaves for the next."""
        return self.work / "instances"

    @property
    def core_rule(self) -> tuple[int, ...]:
        """What a fingerprint has to say of small cores; nothing for the rule that earlier releases had alone."""
        smallest = self.params.smallest_core
        return () if smallest is None else (smallest,)

    @property
    def neck_rule(self) -> tuple[float, ...]:
        """How wide a neck is at most where a core is split; nothing where none is."""
        return (self.params.greatest_neck,) if self.params.greatest_neck else ()

    @property
    def particle_rule(self) -> tuple[Any, ...]:
        """What a fingerprint has to say of uncertain and of long particles; nothing where all are kept."""
        rule = self.params.least_certainty, self.params.greatest_length
        return () if rule == (None, None) else rule

    def describe(self) -> str:
        """Return the plan in one line for a person."""
        return (
            f"instances  {len(self.blocks())} block(s) of {shape_text(self.block_shape)} voxels, halo "
            f"{self.halo}, about {self.memory_bytes / GIB:.1f} GiB per worker"
        )


def plan_instances(
    border_core: Location,
    output: Location,
    work: Location,
    *,
    context: Context,
    certainty: Certainties | None = None,
    params: InstancesParams | None = None,
    block_shape: Shape | None = None,
    input_fingerprint: str | None = None,
) -> InstancesPlan:
    """Plan the way from border-core labels to particles; read metadata only.

    Args:
        border_core: Zarr array or OME-Zarr image (z, y, x) of 0 background, 1 core, 2 border, any number type.
        output: where the ids go; nothing, or what an earlier run made, may be there.
        work: folder for intermediates, on any store.
        context: the runner, whose workers may work on blocks at once, and the memory of all of them together.
        certainty: how probable the classes are, if that is known.
        params: what is too small for a core and for a particle, too uncertain or long; the usual when absent.
        block_shape: voxels per block; the largest that fits the budget when absent. A side above 128 voxels that does
            not cover the volume must be a multiple of 16.
        input_fingerprint: identity of the input; sizes and dates of its objects when absent.

    Raises:
        InputError: for a parameter, shape or budget that cannot be used, or an output of another origin.

    """
    border_core = image_levels(border_core)[0]
    array = open_image(border_core)
    require_chunk_fits(array, context.memory_bytes)
    if output == border_core:
        raise InputError(f"{output}: output and border-core are the same array; give another output")
    refuse_foreign(output)
    shape = cast(Shape, array.shape)
    if block_shape is None:
        block_shape = largest_block(
            shape,
            bytes_per_voxel=INSTANCES_BYTES,
            memory_bytes=context.memory_bytes,
            workers=context.runner.workers,
            halo=HALO,
        )
    block_shape = _checked_block(shape, block_shape)
    params = params or InstancesParams()
    if params.least_certainty is not None and certainty is None:
        raise InputError(
            f"least certainty {params.least_certainty:g}: nobody knows how certain these labels are; leave it out"
        )
    plan = InstancesPlan(
        border_core=border_core,
        certainty=certainty,
        output=output,
        work=work,
        shape=shape,
        block_shape=block_shape,
        halo=HALO,
        params=params,
        input_fingerprint=input_fingerprint or content_identity(border_core),
        memory_bytes=int(BLOCK_WORKER_BYTES + INSTANCES_BYTES * prod(side + 2 * HALO for side in block_shape)),
    )
    return plan.with_halo(HALO)


def ensure_labels(plan: InstancesPlan, location: Location, ledger: Ledger) -> None:
    """Make an intermediate uint32 array whose chunks are cut like the plan's blocks, unless it is there.

    `ledger` knows the blocks that were written; it is cleared when the array is made.
    """
    chunks = _chunks(plan.shape, plan.block_shape)
    if ensure_array(location, plan.shape, np.uint32, chunks=chunks, sharded=False):
        ledger.clear()


def _checked_block(shape: Shape, block_shape: Shape) -> Shape:
    for side, n in zip(block_shape, shape, strict=True):
        if side < 1 or (SHARD < side < n and side % 16):
            raise InputError(
                f"block {block_shape}: sides are 1 to {SHARD}, or multiples of 16; give {max(16, side // 16 * 16)}"
            )
    z, y, x = (min(side, n) for side, n in zip(block_shape, shape, strict=True))
    if z * y * x > MAX_BLOCK_VOXELS:
        raise InputError(f"block {block_shape}: at most {MAX_BLOCK_VOXELS} voxels; give a smaller block")
    return z, y, x


def _chunks(shape: Shape, block_shape: Shape) -> Shape:
    """Chunks of arrays that are written in blocks: whole ones in every block.

    They are as large as shards elsewhere. A chunk costs Zarr about 1 ms beside its decoding, and decoding more than a
    halo needs costs less than that.
    """
    z, y, x = (
        gcd(side, SHARD) if SHARD < side < n else min(side, SHARD) for side, n in zip(block_shape, shape, strict=True)
    )
    return z, y, x
