"""A step that is made block by block: each block once, on any worker, in as little memory as there is.

Such a step says what a block costs, what happens in one block and how the records of all blocks become its finding. How
large blocks are, where they are worked on, which are finished and who hears of it is the same for all of them, and
stands here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, cast

from ps3d_core.engine.blocks import run_blocks
from ps3d_core.engine.step import Context, Found_co, Outcomes, Step
from ps3d_core.geometry.blocks import Block, BlockGrid, block_shape_for
from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.chunking import block_alignment
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

GOOD_BLOCK_VOXELS: Final = 2**24
"""Larger blocks save next to no halo, and only take memory that libraries need as well."""


@dataclass(frozen=True, slots=True)
class Site:
    """Common ground of a step's blocks: how the volume is cut, where blocks leave files, and what was found before."""

    grid: BlockGrid
    place: Location
    done: Outcomes

    def file(self, block: int) -> Location:
        """Return the file in which a block leaves arrays for `merge` and for later steps."""
        return self.place / f"{block}.npz"


class BlockStep(Step[Found_co]):
    """Base of steps that are made in blocks. Subclasses are frozen and small: workers get them pickled."""

    halo: int = 0
    """Voxels around a block that it reads as well."""

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory that a block takes with its halo, of constants of `ps3d_core.memory_model`.

        Steps whose blocks were planned before, and that say so in `grid`, are not asked.
        """
        raise NotImplementedError

    @property
    def block_shape(self) -> Shape | None:
        """Shape (z, y, x) of blocks where the caller chose one; no outcome depends on it."""
        return None

    @property
    @abstractmethod
    def folder(self) -> Location:
        """Folder of the ledger of finished blocks, and of what blocks leave for each other."""

    @property
    @abstractmethod
    def volume(self) -> Location:
        """Array or image whose grid is cut into blocks, along its shards."""

    @abstractmethod
    def work(self, block: Block, site: Site) -> Record:
        """Do one block and return what was found there, JSON-able; no other block may depend on it."""

    @abstractmethod
    def merge(self, records: Sequence[Record], site: Site) -> Found_co:
        """Make the outputs of what the blocks found, in their order, and left at the site; return what was found."""

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Prepare what blocks write into; clear the ledger of finished blocks where that is new.

        By default there is nothing to prepare.
        """

    def blocks(self, site: Site) -> Sequence[Block]:
        """Return the blocks to be worked on: by default all of them."""
        return list(site.grid)

    def grid(self, context: Context) -> BlockGrid:
        """Return how the volume is cut: as was chosen, or as large as is good and the memory of all workers allows."""
        array = open_image(self.volume)
        shape = cast(Shape, array.shape)
        return BlockGrid(shape, self.block_shape or self._fitting(shape, block_alignment(array), context), self.halo)

    def site(self, grid: BlockGrid, done: Outcomes | None = None) -> Site:
        """Return the site that the blocks of `grid` share; blocks of another shape have another place."""
        return Site(grid, self.folder / self.name / self._mark(grid)[:16], Outcomes() if done is None else done)

    def ledger(self, grid: BlockGrid) -> Ledger:
        """Return the ledger that knows the finished ones among the blocks of `grid`."""
        return Ledger(self.folder, self.name, self._mark(grid))

    def make(self, done: Outcomes, context: Context) -> Found_co:
        """Work on every block that is not finished, merge, and return what was found."""
        site = self.site(self.grid(context), done)
        return self.merge(self.records(site, context), site)

    def records(self, site: Site, context: Context) -> list[Record]:
        """Work on every block that is not finished, and return what was found in each of them, in their order."""
        ledger = self.ledger(site.grid)
        self.prepare(site, ledger)
        work = _BlockWork(self, site)
        blocks, runner, progress = self.blocks(site), context.runner, context.progress
        return run_blocks(self.title, blocks, work, ledger=ledger, runner=runner, progress=progress)

    def _fitting(self, shape: Shape, alignment: Shape, context: Context) -> Shape:
        cost, workers = self.bytes_per_voxel, context.runner.workers
        good = max(GOOD_BLOCK_VOXELS, prod(side + 2 * self.halo for side in alignment)) * cost
        return block_shape_for(
            shape,
            alignment,
            bytes_per_voxel=cost,
            memory_bytes=int(min(context.memory_bytes, workers * good)),
            workers=workers,
            halo=self.halo,
        )

    def _mark(self, grid: BlockGrid) -> str:
        return fingerprint(self.fingerprint, grid.block_shape)


@dataclass(frozen=True)
class _BlockWork:
    """The work of a step on one block, as workers get it."""

    step: BlockStep[Any]
    site: Site

    def __call__(self, block: Block) -> Record:
        return self.step.work(block, self.site)
