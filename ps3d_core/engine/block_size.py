"""How large blocks are: what fits the memory of all workers, who hold more than their blocks."""

from __future__ import annotations

from math import prod
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import block_shape_for
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import BLOCK_WORKER_BYTES
from ps3d_core.params import GIB
from ps3d_core.store.arrays import SHARD, shard_shape

GOOD_BLOCK_VOXELS: Final = 540**3
"""Beyond this a block saves little halo, while an interruption costs more and progress gets coarse."""


def largest_block(
    shape: Shape,
    *,
    bytes_per_voxel: float,
    memory_bytes: int,
    workers: int,
    halo: int,
    good_voxels: int = GOOD_BLOCK_VOXELS,
) -> Shape:
    """Return voxels per block, in whole default shards: as many as the budget allows, and not above `good_voxels`.

    `bytes_per_voxel` is the peak for a block with its halo, `memory_bytes` the budget of all workers together. Raise
    `InputError` when not even one shard per worker fits the budget.
    """
    budget = memory_bytes - workers * BLOCK_WORKER_BYTES
    least = workers * (BLOCK_WORKER_BYTES + bytes_per_voxel * prod(min(SHARD, n) + 2 * halo for n in shape))
    if memory_bytes < least:
        raise InputError(
            f"memory budget {memory_bytes / GIB:.2f} GiB: {workers} worker(s) on blocks of {SHARD} voxels need "
            f"{least / GIB:.2f} GiB",
            "raise <memory>",
            "lower <workers>",
        )
    return block_shape_for(
        shape,
        shard_shape(shape),
        bytes_per_voxel=bytes_per_voxel,
        memory_bytes=int(min(budget, workers * bytes_per_voxel * good_voxels)),
        workers=workers,
        halo=halo,
    )
