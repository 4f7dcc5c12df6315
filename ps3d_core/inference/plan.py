"""What prediction will do, known before it starts: patches, blocks, memory.

A block is a box of the network grid that one worker walks along z, or along another axis that is much longer: what it
holds grows with its cross-section. Its patches are those of the global grid that touch it, so a voxel's result is the
same in whatever block it lies; only patches that a block boundary cuts are evaluated more than once. The planner takes
the fewest blocks that fit the memory and feed the workers.

    z  ^   patch rows, from z = 0 up; when a row of patches is done, the slices below the next row are final
       |   +--------------------+
       |   |  accumulator: one patch deep, classes * y * x of the block
       |   +--------------------+
       |   |  finished slices, kept until a row of shards is full
       +----------------------------> y, x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box, Shape, turned
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.quality import REFERENCE, Quality

CLASSES = 3
CHUNK = 64
SHARD_DEPTH = 64
SHARD_SIDE = 256
MAX_SPLITS = 64


@dataclass(frozen=True, slots=True)
class PredictionPlan:
    """Patches and blocks of one scan, and how they are weighed and mirrored.

    `memory_bytes` is the modelled peak of one worker.
    """

    patches: PatchGrid
    blocks: BlockGrid
    workers: int
    memory_bytes: int
    quality: Quality = REFERENCE

    @property
    def walk_axis(self) -> int:
        """Axis that blocks are walked along."""
        return walk_axis(self.patches.shape)

    @property
    def evaluated(self) -> int:
        """Number of patches that all blocks evaluate together."""
        # Blocks form a grid, so the sum over blocks of products over axes is a product of sums.
        return prod(self._evaluated_along(axis) for axis in range(3))

    @property
    def redundancy(self) -> float:
        """Patches evaluated / unique patches; 1.00 with a single block."""
        return self.evaluated / len(self.patches)

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Rows that each block evaluates, and patches in each: none is begun before the one below it is done."""
        return [self._rows_of(block.core) for block in self.blocks]

    def patches_of(self, core: Box) -> int:
        """Return how many patches touch a core given on the network grid."""
        return prod(self._rows_of(core))

    def _rows_of(self, core: Box) -> tuple[int, int]:
        padded = self.patches.to_padded(core)
        ranges = zip(range(3), padded.start, padded.stop, strict=True)
        counts = [len(self.patches.touching(axis, start, stop)) for axis, start, stop in ranges]
        return counts.pop(self.walk_axis), prod(counts)

    def _evaluated_along(self, axis: int) -> int:
        n, side, padding = self.blocks.shape[axis], self.blocks.block_shape[axis], self.patches.padding_before(axis)
        starts = range(padding, padding + n, side)
        return sum(len(self.patches.touching(axis, a, min(a + side, padding + n))) for a in starts)


def walk_axis(shape: Shape) -> int:
    """Return the axis to walk along: z, unless the longest of a network grid of `shape` is longer by half or more.

    Scans that other programs wrote are often stored slice by slice, to be read along z. The axis decides the order in
    which patches are added up, so it follows from the grid alone.
    """
    longest = max(shape)
    return 0 if 2 * longest < 3 * shape[0] else shape.index(longest)


def border_core_chunks(shape: Shape) -> Shape:
    """Return the shape of a chunk of the border-core array on a network grid of `shape`."""
    z, y, x = (min(CHUNK, n) for n in shape)
    return z, y, x


def border_core_shards(shape: Shape) -> Shape:
    """Return the shape of a shard of the border-core array on a network grid of `shape`.

    It is flat, because finished slices wait in memory until a row of shards is full.
    """
    sides = turned((SHARD_DEPTH, SHARD_SIDE, SHARD_SIDE), walk_axis(shape))
    z, y, x = (min(s, c * ceil(n / c)) for s, n, c in zip(sides, shape, border_core_chunks(shape), strict=True))
    return z, y, x


def plan_prediction(
    shape: Shape,
    patch: Shape,
    *,
    quality: Quality = REFERENCE,
    memory_bytes: int,
    workers: int = 1,
    network_bytes: int = 0,
    read_bytes: Callable[[Shape], float] = lambda shape: 8.0 * prod(shape),
    shards: Shape | None = None,
) -> PredictionPlan:
    """Plan a network grid of `shape`.

    `network_bytes` is what the network needs besides (activations of a batch, weights), `read_bytes` what reading a
    box of the network grid holds at most, given the box's shape turned to `walk_axis`. Raise `InputError` when not
    even the smallest block fits.
    """
    grid = PatchGrid(shape, patch, quality.strides(patch), even=quality.adaptive)
    shards = shards or border_core_shards(shape)
    budget = memory_bytes / workers
    best: PredictionPlan | None = None
    least = float("inf")
    for block_shape in _candidates(shape, shards):
        blocks = BlockGrid(shape, block_shape)
        memory = network_bytes + _walk_bytes(grid, blocks, shards, read_bytes)
        least = min(least, memory)
        if memory > budget or (len(blocks) < workers and _can_split(shape, shards, workers)):
            continue
        plan = PredictionPlan(grid, blocks, workers, int(memory), quality)
        if best is None or _cost(plan) < _cost(best):
            best = plan
    if best is None:
        raise InputError(
            f"memory budget {memory_bytes / 2**30:.2f} GiB for {workers} worker(s): prediction needs at least "
            f"{least / 2**30:.2f} GiB per worker",
            "raise <memory>",
            "lower <workers>",
        )
    return best


def _cost(plan: PredictionPlan) -> tuple[int, int, int]:
    """Patches until the last worker has done its blocks, then blocks and patches in all: the less the better."""
    blocks = len(plan.blocks)
    longest = plan.patches_of(plan.blocks[_middle(plan.blocks)].core) if plan.workers > 1 else 0
    return ceil(blocks / plan.workers) * longest, blocks, plan.evaluated


def _middle(blocks: BlockGrid) -> int:
    """Index of a block in the middle, which has as many patches as any."""
    _, ny, nx = blocks.counts
    z, y, x = ((n - 1) // 2 for n in blocks.counts)
    return (z * ny + y) * nx + x


def _candidates(shape: Shape, shards: Shape) -> list[Shape]:
    """Block shapes that cut every axis evenly into 1, 2, 3, ... parts of whole shards."""
    sides = []
    for n, shard in zip(shape, shards, strict=True):
        in_shards = ceil(n / shard)
        parts = range(1, min(in_shards, MAX_SPLITS) + 1)
        sides.append(sorted({ceil(in_shards / k) * shard for k in parts}, reverse=True))
    return [(z, y, x) for z, y, x in product(*sides)]


def _can_split(shape: Shape, shards: Shape, workers: int) -> bool:
    return prod(ceil(n / s) for n, s in zip(shape, shards, strict=True)) >= workers


def _walk_bytes(grid: PatchGrid, blocks: BlockGrid, shards: Shape, read_bytes: Callable[[Shape], float]) -> float:
    """Peak memory of one block's walk, network aside."""
    axis = walk_axis(grid.shape)
    grid, block, row = grid.turned(axis), turned(blocks.block_shape, axis), shards[axis]
    depth, py, px = grid.patch
    _, y, x = (min(b, n) for b, n in zip(block, grid.shape, strict=True))
    core = max(y, py) * max(x, px)
    seen_y, seen_x = min(y + 2 * py, grid.padded_shape[1]), min(x + 2 * px, grid.padded_shape[2])
    image = depth * seen_y * seen_x * 4.0
    # The slices of the next row: being read, or read and being normalised.
    fresh = (grid.stride[0], seen_y, seen_x)
    ahead = max(read_bytes(fresh), prod(fresh) * 10.0)
    accumulator = CLASSES * depth * core * 4.0
    finished = (row + depth) * core * 2.0  # class and certainty
    return image + ahead + accumulator + finished
