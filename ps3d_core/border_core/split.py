"""Split cores at their necks, block by block: see `necks` for what a neck is.

A core is looked at by the block in which its bounding box begins, as a whole, whatever blocks it lies in. So no cut
into blocks shows. Cores whose boxes are larger than memory ought to be asked for stay as they are.

What a block leaves is a list of the voxels of the cores that it split; all other voxels keep the number of their core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, reduce
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.cores import Integers, LabelCores, LargeCores, NumberCores, core_numbers
from ps3d_core.border_core.necks import Parts, may_have_parts, part_at_necks
from ps3d_core.border_core.part import BlockPart
from ps3d_core.border_core.pieces import check_ids, number_labels
from ps3d_core.border_core.seams import Labels
from ps3d_core.border_core.voxel_counts import box_of_reach
from ps3d_core.engine.block_step import Site
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.arrays import open_array, read_box
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location

VERSION: Final = 1
"""Raise when a change of the code splits other cores."""

LARGEST: Final = 2**22
"""Voxels of the largest box in which a core is looked at: with 20 voxels per particle, one of 8 particles across."""
MARGIN: Final = 64
"""Voxels behind a block that are read with it at most. Few cores reach farther; these are read by themselves."""


class SplitVoxels(NamedTuple):
    """Voxels of the cores that one block split, (n,) each.

    voxel: int64, its index in C order of the volume.
    core: uint32, number of the core.
    part: uint32, from 0, in C order of the first voxels of the core's parts.
    """

    voxel: Integers
    core: Labels
    part: Labels


class Split(BaseModel):
    """Counts of the cores that were split, and where."""

    model_config = ConfigDict(frozen=True)

    cores: int = Field(description="cores of the whole volume, after splitting")
    split: int = Field(description="cores that were split")
    boxes: dict[int, Box] = Field(description="around the cores that a block split, by block that has any")


class SplitNumbers(NamedTuple):
    """Table of the cores that were split, in their order: of part p > 0 the number is `above` + p.

    core: (n,) uint32.
    above: (n,) int64.
    """

    core: Labels
    above: Integers


@dataclass(frozen=True)
class SplitCores(BlockPart[Split]):
    """Step that splits cores at their necks; the first part of each keeps its number, the others follow after all."""

    cores: LabelCores
    numbers: NumberCores

    name, title, found = "split-cores", "split cores", Split

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of how cores are split."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """How wide a neck may be at most."""
        return (self.plan.params.greatest_neck,)

    @property
    def table(self) -> Location:
        """File of the table of cores that were split, an .npz."""
        return self.site(self.plan.blocks()).place / "numbers.npz"

    def work(self, block: Block, site: Site) -> Record:
        """Split the cores whose boxes begin in one block; leave their voxels, return the box of these."""
        found, boxes = [], []
        for core, box, labels in self._cores_with_necks(block):
            parts, count = part_at_necks(labels == core, *self.plan.neck_rule)
            if count > 1:
                found.append(_voxels_of(core, parts, box, self.plan.shape))
                boxes.append(box)
        if not found:
            return {"box": None}
        voxels = (np.concatenate(values) for values in zip(*found, strict=True))
        site.file(block.index).write_arrays(**SplitVoxels(*voxels)._asdict())
        return {"box": asdict(reduce(Box.around, boxes))}

    def merge(self, records: Sequence[Record], site: Site) -> Split:
        """Number the parts of all cores that were split."""
        boxes = {index: record["box"] for index, record in enumerate(records) if record["box"] is not None}
        parts = [np.zeros((2, 0), np.int64)]
        for index in boxes:
            voxels = SplitVoxels(**site.file(index).read_arrays())
            core, row = np.unique(voxels.core, return_inverse=True)
            last = np.zeros(len(core), np.int64)
            np.maximum.at(last, row, voxels.part)
            parts.append(np.stack((core.astype(np.int64), last)))
        core, last = np.concatenate(parts, axis=1)
        core, last = core[order := np.argsort(core)], last[order]
        cores = site.done.of(NumberCores).cores
        total = cores + int(last.sum())
        check_ids(total)
        self.table.write_arrays(
            **SplitNumbers(core.astype(np.uint32), cores + np.cumsum(last) - last)._asdict(),
        )
        return Split(cores=total, split=len(core), boxes=boxes)

    def renumber(self, labels: Labels, box: Box, boxes: Mapping[int, Box]) -> None:
        """Put the numbers of parts in the place of those of split cores in `labels` (z, y, x) of a `box`."""
        numbers, site = split_numbers(self.table), self.site(self.plan.blocks())
        for index, touched in boxes.items():
            if not touched.intersect(box).is_empty:
                voxels = SplitVoxels(**site.file(index).read_arrays())
                above = numbers.above[np.searchsorted(numbers.core, voxels.core)]
                number = np.where(voxels.part > 0, above + voxels.part, voxels.core).astype(np.uint32)
                _put(voxels.voxel, number, self.plan.shape, box.start, labels)

    def _cores_with_necks(self, block: Block) -> Iterator[tuple[int, Box, Labels]]:
        """Yield number, box and labels of every core whose box begins in a block and that may have parts, in order.

        The box has one voxel more on all sides, as far as the volume goes.
        """
        large, shape = large_cores(self.numbers.large), self.plan.shape
        mine = _beginning_in(block, large.reach)
        if not len(mine):
            return
        boxes = [box_of_reach(large.reach[:, row]).grow(1, shape) for row in mine]
        around = reduce(Box.around, boxes).intersect(block.core.grow(MARGIN, shape))
        labels = self._numbers_in(around)
        inside = np.array([box.intersect(around) == box for box in boxes])
        may_part = np.array([box.size <= LARGEST for box in boxes])
        seen = mine[inside & may_part]
        start, stop = (corner.T - around.start for corner in (large.reach[:3, seen], 1 - large.reach[3:, seen]))
        may_part[inside & may_part] = may_have_parts(labels, large.numbers[seen], start, stop, *self.plan.neck_rule)
        for at in np.flatnonzero(may_part):
            core, box = int(large.numbers[mine[at]]), boxes[at]
            yield core, box, labels[box.relative_to(around).slices] if inside[at] else self._numbers_in(box)

    def _numbers_in(self, box: Box) -> Labels:
        """Numbers of the cores in a box."""
        table, labels = core_numbers(self.numbers.table), np.empty(box.shape, np.uint32)
        read_box(open_array(self.cores.labels), box, labels)
        number_labels(labels, box, self.plan.blocks(), table.offsets, table.numbers, labels)
        return labels


@lru_cache(maxsize=1)
def large_cores(location: Location) -> LargeCores:
    """Return the large cores of `NumberCores`. Kept between blocks: the location has a fingerprint of the content."""
    return LargeCores(**location.read_arrays())


@lru_cache(maxsize=1)
def split_numbers(location: Location) -> SplitNumbers:
    """Return the table of `SplitCores`. Kept between blocks: its place is named after what decides the content."""
    arrays = location.read_arrays()
    return SplitNumbers(arrays["core"], arrays["above"])


def _beginning_in(block: Block, reach: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """Rows of the cores whose bounding boxes begin in a block."""
    inside = np.ones(reach.shape[1], np.bool_)
    for axis, (start, stop) in enumerate(zip(block.core.start, block.core.stop, strict=True)):
        inside &= (reach[axis] >= start) & (reach[axis] < stop)
    return np.flatnonzero(inside)


def _voxels_of(core: int, parts: Parts, box: Box, shape: Shape) -> SplitVoxels:
    """Voxels of a core whose parts, from 1, are those of a box in a volume of `shape`."""
    within = np.nonzero(parts)
    voxel = np.ravel_multi_index([axis + start for axis, start in zip(within, box.start, strict=True)], shape)
    numbers = (parts[within] - 1).astype(np.uint32)
    return SplitVoxels(voxel.astype(np.int64), np.full(len(voxel), core, np.uint32), numbers)


@njit(nogil=True, cache=True)
def _put(voxels: Integers, numbers: Labels, shape: Shape, start: Shape, labels: Labels) -> None:
    """Write numbers to those of the voxels, given by indices in a volume of `shape`, that lie in `labels`."""
    depth, height, width = labels.shape
    for i in range(voxels.size):
        z = voxels[i] // (shape[1] * shape[2]) - start[0]
        y = voxels[i] // shape[2] % shape[1] - start[1]
        x = voxels[i] % shape[2] - start[2]
        if 0 <= z < depth and 0 <= y < height and 0 <= x < width:
            labels[z, y, x] = numbers[i]
