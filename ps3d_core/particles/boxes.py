"""Which particles begin in which block, and their boxes: who measures a particle as a whole.

A particle belongs to the block that holds the first corner of its box, so each has one block, whatever blocks it lies
in. The lists are written once, from the merged sums, some hundred thousand particles at a time, each file ordered by
block; a block reads the files that have something for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.sums import LabelSums
from ps3d_core.store.location import Location

_INDEX = "index.npz"


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
    """Write the boxes of particles, which come in rising order of label, by the blocks of `grid` they begin in."""
    files, blocks = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, sums in enumerate(particles):
        block = np.ravel_multi_index(tuple((sums.low // np.array(grid.block_shape)).T), grid.counts)
        order = np.argsort(block, kind="stable")
        found, starts = np.unique(block[order], return_index=True)
        boxes = Boxes(sums.labels, sums.low, sums.high).rows(order)
        (folder / f"{number}.npz").write_arrays(**boxes._asdict(), found=found, starts=np.append(starts, len(order)))
        files.append(np.full(len(found), number))
        blocks.append(found)
    (folder / _INDEX).write_arrays(files=np.concatenate(files), blocks=np.concatenate(blocks))


def read_boxes(block: int, folder: Location) -> Boxes:
    """Return the boxes of the particles that begin in the block of this index."""
    index = (folder / _INDEX).read_arrays()
    parts = [_part(block, folder / f"{number}.npz") for number in index["files"][index["blocks"] == block]]
    none = Boxes(np.empty(0, np.uint32), np.empty((0, 3), np.int32), np.empty((0, 3), np.int32))
    return Boxes(*map(np.concatenate, zip(none, *parts, strict=True)))


def _part(block: int, file: Location) -> Boxes:
    arrays = file.read_arrays()
    at = int(np.searchsorted(arrays["found"], block))
    rows = slice(*arrays["starts"][at : at + 2])
    return Boxes(arrays["labels"], arrays["low"], arrays["high"]).rows(rows)
