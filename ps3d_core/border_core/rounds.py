"""Growth over blocks: rounds of as many steps as the halo is wide.

After round r every voxel within r * h steps of a core has its final label; that is the same statement for every cut
into blocks. No other voxel has one, but in pockets that a block could fill without its neighbours (see `pockets`).
Round 1 runs on all blocks and starts from the cores. A later round runs on a block that has voxels pending and, in
itself or a neighbour, a front: voxels labelled in the very last step, with pending ones beside them. When there is no
such block, growth has ended everywhere.

Every round writes arrays of its own, and reads the rounds before it, which nobody changes any more: a block's
labels are in the last round that it took part in. So the order of blocks does not matter, and a round that was
interrupted repeats the blocks that were in flight.

What is pending at the end has no core within reach, which makes whole components: the coreless ones. A block cannot
know when the end is, so it labels what it leaves pending each time, as label of the piece + number of cores; should
growth go on, these labels are read as pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.classes import read_classes
from ps3d_core.border_core.components import find_components, write_labels
from ps3d_core.border_core.cores import LabelCores, NumberCores, core_numbers
from ps3d_core.border_core.growth import PENDING, Labels, States, count_pending, grow, mark_pending
from ps3d_core.border_core.part import BlockPart, Part
from ps3d_core.border_core.pieces import check_ids, measure_extents, measure_pieces, number_labels
from ps3d_core.border_core.plan import InstancesPlan, ensure_labels
from ps3d_core.border_core.pockets import fill_pockets, goes_on
from ps3d_core.border_core.seams import block_faces
from ps3d_core.border_core.split import SplitCores
from ps3d_core.border_core.voxel_counts import Certainty, measure_labels
from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.crop import crop_in_place
from ps3d_core.store.arrays import open_array, read_box, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 2
"""Raise when blocks leave other measures of their labels."""

_INNER = (slice(1, -1),) * 3


class Round(BaseModel):
    """Finding of one round, by the blocks that took part, in their order."""

    model_config = ConfigDict(frozen=True)

    blocks: tuple[int, ...]
    pieces: tuple[int, ...] = Field(description="pieces left pending")
    front: tuple[bool, ...] = Field(description="whether growth goes on from voxels labelled in the very last step")


class Grown(BaseModel):
    """State of growth after some rounds."""

    model_config = ConfigDict(frozen=True)

    rounds: int = Field(default=0, description="finished rounds")
    last_round: dict[int, int] = Field(default={}, description="of every block that went beyond round 1")
    pending: dict[int, int] = Field(default={}, description="pieces left pending, by block that has any")

    def round_of(self, block: int) -> int:
        """Return the last round in which a block took part."""
        return self.last_round.get(block, 1)

    def after(self, found: Round) -> Grown:
        """Return the state of growth after one more round, which left `found`."""
        number = self.rounds + 1
        pending = self.pending | dict(zip(found.blocks, found.pieces, strict=True))
        beyond_first = {} if number == 1 else dict.fromkeys(found.blocks, number)
        return Grown(
            rounds=number,
            last_round=self.last_round | beyond_first,
            pending={index: pieces for index, pieces in sorted(pending.items()) if pieces},
        )


@dataclass(frozen=True)
class GrowCores(Part[Grown]):
    """Step that grows the cores until nothing changes."""

    cores: LabelCores
    numbers: NumberCores
    split: SplitCores | None = None

    name, title, found, kept = "growth", "grow particles", Grown, False

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of what blocks leave of their labels."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Number of growth steps per round, and whether it is known how certain voxels are."""
        return (self.plan.halo, self.plan.certainty is not None)

    def make(self, done: Outcomes, context: Context) -> Grown:
        """Grow round by round until nothing changes; return the state of growth."""
        grid = self.plan.blocks(self.plan.halo)
        grown, todo = Grown(), tuple(range(len(grid)))
        while todo:
            found = self.round(grown.rounds + 1, grown, todo).make(done, context)
            grown = grown.after(found)
            front = {index for index, front in zip(found.blocks, found.front, strict=True) if front}
            todo = _still_growing(grid, grown.pending, front)
        return grown

    def round(self, number: int, before: Grown | None = None, todo: tuple[int, ...] = ()) -> GrowRound:
        """Return a round, for what it will leave or, with its blocks, to be made."""
        title = self.title if number == 1 else f"{self.title}, round {number}"
        return GrowRound(self.plan, self, before or Grown(), todo, f"grow-{number:04d}", title)

    def left_by(self, number: int) -> Site:
        """Return the site at which the blocks of a round have left arrays of labels and of pieces."""
        return self.round(number).site(self.plan.blocks())

    def count_cores(self, done: Outcomes) -> int:
        """Return how many numbers cores have."""
        return done.of(NumberCores).cores if self.split is None else done.of(SplitCores).cores

    def pieces_of(self, grown: Grown, block: int) -> Location:
        """Return the file with measures and faces of the pieces that a block has left pending."""
        return self.left_by(grown.round_of(block)).file(block)

    def voxels_of(self, grown: Grown, block: int) -> Location:
        """Return the file with what a block has of each core number, see `LabelMeasures`."""
        return _voxels(self.left_by(grown.round_of(block)), block)


@dataclass(frozen=True)
class GrowRound(BlockPart[Round]):
    """Step of one more round of growth, on some blocks."""

    growth: GrowCores
    before: Grown
    todo: tuple[int, ...]
    name: str
    title: str

    found = Round

    def grid(self, context: Context) -> BlockGrid:
        """Return the plan's blocks, with as much around them as one round can reach."""
        return self.plan.blocks(self.plan.halo)

    def blocks(self, site: Site) -> Sequence[Block]:
        """Return the blocks that take part in the round."""
        return [site.grid[index] for index in self.todo]

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the array of the round's labels, unless it is there."""
        ensure_labels(self.plan, _labels(site), ledger)

    def work(self, block: Block, site: Site) -> Record:
        """Grow one block; leave its labels, how many voxels each has, and the pieces that are still pending."""
        plan, cores = self.plan, self.growth.count_cores(site.done)
        z, y, x = (side + 2 for side in block.outer.shape)
        labels = np.zeros((z, y, x), np.uint32)
        self._read(block.outer, site.done, labels[_INNER])
        states = mark_pending(read_classes(open_image(plan.border_core), block.outer), labels)
        grow(labels, states, plan.steps)
        core = block.core.relative_to(block.outer)
        if goes_on(states, core):
            fill_pockets(labels, states, core)
        front = goes_on(states, core)
        labels, states = crop_in_place(labels, core.shift((1, 1, 1))), crop_in_place(states, core)
        certainty = None if plan.certainty is None else read_box(open_array(plan.certainty.voxels), block.core)
        measures = measure_labels(labels, block.core.start, certainty)
        _voxels(site, block.index).write_arrays(**measures._asdict())
        pending = count_pending(states)
        pieces = _label_pending(plan, block, states, cores, labels, certainty, site.file(block.index)) if pending else 0
        write_box(open_array(_labels(site), writable=True), block.core, labels)
        return {"pieces": pieces, "front": front}

    def merge(self, records: Sequence[Record], site: Site) -> Round:
        """Return what the round left on its blocks."""
        return Round(
            blocks=self.todo,
            pieces=tuple(int(record["pieces"]) for record in records),
            front=tuple(bool(record["front"]) for record in records),
        )

    def _read(self, box: Box, done: Outcomes, into: Labels) -> None:
        if self.before.rounds == 0:
            table = core_numbers(self.growth.numbers.table)
            read_box(open_array(self.growth.cores.labels), box, into)
            number_labels(into, box, self.plan.blocks(), table.offsets, table.numbers, into)
            if self.growth.split is not None:
                self.growth.split.renumber(into, box, done.of(SplitCores).boxes)
        else:
            GrownLabels(self.growth, self.before).read(box, into)
            into[into > self.growth.count_cores(done)] = 0


class GrownLabels:
    """Labels as the finished rounds left them. Each round's array is opened once."""

    def __init__(self, growth: GrowCores, grown: Grown) -> None:
        self._grid, self._grown = growth.plan.blocks(), grown
        self._array = cache(lambda number: open_array(_labels(growth.left_by(number))))

    def read(self, box: Box, into: Labels) -> None:
        """Read core numbers of the voxels of `box` into `into`.

        Where voxels are pending, read number of cores + label of the piece.
        """
        by_round: dict[int, list[Block]] = {}
        for block in self._grid.touching(box):
            by_round.setdefault(self._grown.round_of(block.index), []).append(block)
        for number, blocks in by_round.items():
            parts = [box] if len(by_round) == 1 else [block.core.intersect(box) for block in blocks]
            for part in parts:
                read_box(self._array(number), part, into[part.relative_to(box).slices])


def _still_growing(grid: BlockGrid, pending: Iterable[int], front: set[int]) -> tuple[int, ...]:
    blocks = (grid[index] for index in pending)
    return tuple(
        block.index
        for block in blocks
        if block.index in front or any(other.index in front for other in grid.neighbours(block, 26))
    )


def _label_pending(
    plan: InstancesPlan,
    block: Block,
    states: States,
    cores: int,
    labels: Labels,
    certainty: Certainty | None,
    file: Location,
) -> int:
    """Label what is pending in a block above the cores and store its measures; returns the number of pieces."""
    pieces = find_components(states, PENDING, 26)
    check_ids(cores + pieces.total)
    measures = measure_pieces(pieces, block.core, plan.shape) | measure_extents(pieces, block.core, certainty)
    file.write_arrays(**measures, **block_faces(pieces, block, plan.blocks()))
    write_labels(pieces, labels, above=cores)
    return pieces.total


def _labels(site: Site) -> Location:
    return site.place / "labels"


def _voxels(site: Site, block: int) -> Location:
    return site.place / "voxels" / f"{block}.npz"
