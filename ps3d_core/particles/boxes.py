"""Which particles begin in which block, and their boxes: who measures a particle as a whole.

A particle belongs to the block that holds the first corner of its box, so each has one block, whatever blocks it lies
in. The lists are written once, from the merged sums, a file for each block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.sums import LabelSums
from ps3d_core.store.location import Location
from ps3d_core.store.sorted_runs import SortedRuns

PARTICLES_AT_ONCE: Final = 2**20
"""Boxes that are held while they are put in the order of their blocks; and all those of one block."""


class Boxes(NamedTuple):
    """Boxes of n particles, in rising order of label.

    labels: uint32 (n,).
    low: int32 (n, 3), first voxel in the scan.
    high: int32 (n, 3), last voxel.
    """

    labels: Labels
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Boxes:
        """Return some rows."""
        return Boxes(self.labels[chosen], self.low[chosen], self.high[chosen])

    @property
    def sides(self) -> npt.NDArray[np.int64]:
        """Extents (n, 3) in voxels."""
        return self.high.astype(np.int64) - self.low + 1


def write_boxes(particles: Iterable[LabelSums], grid: BlockGrid, folder: Location) -> None:
    """Write the boxes of particles, which come in rising order of label, by the blocks of `grid` they begin in.

    Blocks in which none begins have a file, too: one that is not there is an error.
    """
    empty = np.ones(len(grid), np.bool_)
    for block, boxes in _by_block(particles, grid):
        (folder / f"{block}.npz").write_arrays(**boxes._asdict())
        empty[block] = False
    none = Boxes(np.empty(0, np.uint32), np.empty((0, 3), np.int32), np.empty((0, 3), np.int32))
    for block in np.flatnonzero(empty).tolist():
        (folder / f"{block}.npz").write_arrays(**none._asdict())


def read_boxes(block: int, folder: Location) -> Boxes:
    """Return the boxes of the particles that begin in the block of this index."""
    return Boxes(**(folder / f"{block}.npz").read_arrays())


def _by_block(particles: Iterable[LabelSums], grid: BlockGrid) -> Iterator[tuple[int, Boxes]]:
    """The boxes of each block in which particles begin, in order of the blocks."""
    runs = SortedRuns("blocks")
    for sums in particles:
        begin = np.ravel_multi_index(tuple((sums.low // np.array(grid.block_shape)).T), grid.counts)
        order = np.argsort(begin, kind="stable")
        runs.add({"blocks": begin[order], **Boxes(sums.labels, sums.low, sums.high).rows(order)._asdict()})
    for parts in runs.ranges(PARTICLES_AT_ONCE):
        blocks, *columns = (np.concatenate([part[name] for part in parts]) for name in ("blocks", *Boxes._fields))
        order = np.argsort(blocks, kind="stable")  # runs follow each other by label, and so do the rows of a block
        boxes = Boxes(*columns).rows(order)
        found, starts = np.unique(blocks[order], return_index=True)
        for block, start, stop in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=True):
            yield block, boxes.rows(slice(start, stop))
