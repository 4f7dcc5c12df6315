"""Units of work: blocks that tile a volume, each with a core it writes and a halo it also reads.

+---------+---------+
|  core 0 |  core 1 |      cores tile the volume without gap or overlap and are aligned to shards,
|     ....|....     |      so that every shard has one writer;
+-----:---+---:-----+      outer = core grown by the halo, clipped at the volume's faces.
|  core 2 |  core 3 |
+---------+---------+
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: `core` is what it writes, `outer` what it reads (core and halo)."""

    index: int
    position: Shape
    core: Box
    outer: Box


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """Blocks of `block_shape` that tile a volume of `shape`, in C order; the last ones per axis may be smaller."""

    shape: Shape
    block_shape: Shape
    halo: int | Shape = 0

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.block_shape) < 1:
            raise InputError(
                f"volume {self.shape}, block {self.block_shape}: every side must be at least 1 voxel; "
                "give a larger block"
            )

    @property
    def counts(self) -> Shape:
        """Number of blocks per axis."""
        z, y, x = (ceil(n / b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        nz, ny, nx = self.counts
        for position in product(range(nz), range(ny), range(nx)):
            yield self.at(position)

    def __getitem__(self, index: int) -> Block:
        if not 0 <= index < len(self):
            raise IndexError(index)
        _, ny, nx = self.counts
        return self.at((index // (ny * nx), index // nx % ny, index % nx))

    def at(self, position: Shape) -> Block:
        """Return the block at grid position (bz, by, bx)."""
        z, y, x = (p * b for p, b in zip(position, self.block_shape, strict=True))
        whole = Box.of(self.shape)
        core = Box((z, y, x), (z, y, x)).grow(0, self.shape)
        stop = tuple(s + b for s, b in zip(core.start, self.block_shape, strict=True))
        core = Box(core.start, (stop[0], stop[1], stop[2])).intersect(whole)
        _, ny, nx = self.counts
        index = (position[0] * ny + position[1]) * nx + position[2]
        return Block(index, position, core, core.grow(self.halo, self.shape))

    def neighbours(self, block: Block, connectivity: int = 26) -> Iterator[Block]:
        """Yield the blocks that share a face (6), a face or edge (18), or any corner (26) with `block`, in C order."""
        reach = {6: 1, 18: 2, 26: 3}[connectivity]
        for offset in product((-1, 0, 1), repeat=3):
            if not 0 < sum(map(abs, offset)) <= reach:
                continue
            z, y, x = (p + o for p, o in zip(block.position, offset, strict=True))
            if all(0 <= p < n for p, n in zip((z, y, x), self.counts, strict=True)):
                yield self.at((z, y, x))

    def touching(self, box: Box) -> Iterator[Block]:
        """Yield the blocks whose core shares a voxel with `box`, in C order."""
        inside = box.intersect(Box.of(self.shape))
        if inside.is_empty:
            return
        ranges = [
            range(start // side, (stop - 1) // side + 1)
            for start, stop, side in zip(inside.start, inside.stop, self.block_shape, strict=True)
        ]
        for z, y, x in product(*ranges):
            yield self.at((z, y, x))


def block_shape_for(
    shape: Shape,
    shards: Shape,
    *,
    bytes_per_voxel: float,
    memory_bytes: int,
    workers: int = 1,
    halo: int = 0,
) -> Shape:
    """Return the largest shard-aligned block whose outer box fits the memory of one worker.

    `bytes_per_voxel` is the stage's peak memory per voxel of the outer box. The block grows one shard at a time
    along its shortest side, which keeps it near a cube (least halo), until it covers the volume, no longer fits in
    `memory_bytes / workers`, or would leave a worker without a block. At last the blocks of an axis are made as
    equal as whole shards allow: a worker that got all the large ones would keep the others waiting. Raise `InputError`
    when not even a block of one shard fits.
    """
    limit = memory_bytes / workers
    block = _clip(shards, shape)
    if _cost(block, halo, bytes_per_voxel) > limit:
        raise InputError(
            f"memory budget {memory_bytes / 2**30:.2f} GiB for {workers} worker(s): one block of {block} voxels needs "
            f"{_cost(block, halo, bytes_per_voxel) / 2**30:.2f} GiB",
            "raise <memory>",
            "lower <workers>",
        )
    growing = True
    while growing:
        growing = False
        for axis in sorted(range(3), key=lambda a: block[a]):
            sides = list(block)
            sides[axis] = min(sides[axis] + shards[axis], shape[axis])
            larger = (sides[0], sides[1], sides[2])
            fits = _cost(larger, halo, bytes_per_voxel) <= limit
            feeds_all = workers == 1 or len(BlockGrid(shape, larger)) >= 2 * workers
            if larger != block and fits and feeds_all:
                block, growing = larger, True
                break
    return _evened(block, shards, shape)


def _evened(block: Shape, shards: Shape, shape: Shape) -> Shape:
    """The least block, in whole shards, that cuts every axis of `shape` into as many parts as `block` does."""
    z, y, x = (
        min(n, ceil(ceil(n / shard) / ceil(n / side)) * shard)
        for side, shard, n in zip(block, shards, shape, strict=True)
    )
    return z, y, x


def _clip(block: Shape, shape: Shape) -> Shape:
    z, y, x = (min(b, n) for b, n in zip(block, shape, strict=True))
    return z, y, x


def _cost(block: Shape, halo: int, bytes_per_voxel: float) -> float:
    return prod(b + 2 * halo for b in block) * bytes_per_voxel
