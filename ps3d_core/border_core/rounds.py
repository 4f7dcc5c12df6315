"""Growth over blocks: rounds of as many steps as the halo is wide.

After round r every voxel within r * h steps of a core has its final label, and no other voxel has one; that is the
same statement for every cut into blocks. Round 1 runs on all blocks and starts from the cores. A later round runs
on a block that has voxels pending and, in itself or a neighbour, a front: voxels labelled in the very last step.
When there is no such block, growth has ended everywhere.

Every round writes arrays of its own, and reads the rounds before it, which nobody changes any more: a block's
labels are in the last round that it took part in. So the order of blocks does not matter, and a round that was
interrupted repeats the blocks that were in flight.

What is pending at the end has no core within reach, which makes whole components: the coreless ones. A block cannot
know when the end is, so it labels what it leaves pending each time, as label of the piece + number of cores; should
growth go on, these labels are read as pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ps3d_core.border_core.classes import read_classes
from ps3d_core.border_core.components import find_components, write_labels
from ps3d_core.border_core.cores import core_numbers
from ps3d_core.border_core.growth import PENDING, Labels, States, count_states, grow, mark_pending
from ps3d_core.border_core.pieces import check_ids, measure_pieces, number_labels
from ps3d_core.border_core.plan import InstancesPlan, ensure_labels
from ps3d_core.border_core.seams import block_faces
from ps3d_core.border_core.voxel_counts import count_voxels
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import MissingDataError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.crop import crop_in_place
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import open_array, read_box, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

_INNER = (slice(1, -1),) * 3


@dataclass(frozen=True, slots=True)
class Grown:
    """Where growth stands.

    rounds: finished rounds.
    last_round: of every block that went beyond round 1.
    pending: pieces left pending, by block that has any.
    """

    rounds: int
    last_round: Mapping[int, int]
    pending: Mapping[int, int]

    def voxels_at(self, plan: InstancesPlan, block: int) -> Location:
        """File with a block's voxels per core number: "ids", "voxels"."""
        return _folder(plan, self.last_round.get(block, 1)) / "voxels" / f"{block}.npz"

    def pieces_at(self, plan: InstancesPlan, block: int) -> Location:
        """File with measures and faces of the pieces a block left pending."""
        return _folder(plan, self.last_round.get(block, 1)) / "pending" / f"{block}.npz"


class GrownLabels:
    """Labels as the finished rounds left them. Opens each round's array once."""

    def __init__(self, plan: InstancesPlan, grown: Grown) -> None:
        self._grid, self._last_round = plan.blocks(), grown.last_round
        self._array = cache(lambda number: open_array(_folder(plan, number) / "labels"))

    def read(self, box: Box, into: Labels) -> None:
        """Core numbers of the voxels of `box`; number of cores + label of the piece where voxels are pending."""
        by_round: dict[int, list[Block]] = {}
        for block in self._grid.touching(box):
            by_round.setdefault(self._last_round.get(block.index, 1), []).append(block)
        for number, blocks in by_round.items():
            parts = [box] if len(by_round) == 1 else [block.core.intersect(box) for block in blocks]
            for part in parts:
                read_box(self._array(number), part, into[part.relative_to(box).slices])


def grow_cores(plan: InstancesPlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> Record:
    """Grow the cores until nothing changes. Returns the number of rounds, and of blocks with voxels still pending."""
    grown = _grow_rounds(plan, runner, progress)
    items = {"last_round": list(grown.last_round.items()), "pending": list(grown.pending.items())}
    _grown(plan).keep({"rounds": grown.rounds, **items}, {})
    return {"rounds": grown.rounds, "pending_blocks": len(grown.pending)}


def read_grown(plan: InstancesPlan) -> Grown:
    """What `grow_cores` left."""
    entry = _grown(plan).kept()
    if entry is None:
        raise MissingDataError(f"{plan.growth}: growth is unfinished; finish that stage first")
    stored = entry.record
    return Grown(int(stored["rounds"]), dict(stored["last_round"]), dict(stored["pending"]))


def _grow_rounds(plan: InstancesPlan, runner: Runner | None, progress: Progress) -> Grown:
    grid = plan.blocks(plan.halo)
    grown, todo = Grown(0, {}, {}), list(grid)
    while todo:
        number = grown.rounds + 1
        name = "grow particles" if number == 1 else f"grow particles, round {number}"
        ledger = plan.ledger(f"grow-{number:04d}", plan.growth_fingerprint)
        ensure_labels(plan, _folder(plan, number) / "labels", ledger)
        records = run_blocks(name, todo, _GrowBlock(plan, grown), ledger=ledger, runner=runner, progress=progress)
        results = {block.index: record for block, record in zip(todo, records, strict=True)}
        pending = {**grown.pending, **{index: int(record["pieces"]) for index, record in results.items()}}
        beyond_first = {} if number == 1 else dict.fromkeys(results, number)
        grown = Grown(
            number,
            {**grown.last_round, **beyond_first},
            {index: pieces for index, pieces in sorted(pending.items()) if pieces},
        )
        todo = _still_growing(grid, grown.pending, {index for index, record in results.items() if record["front"]})
    return grown


def _still_growing(grid: BlockGrid, pending: Iterable[int], front: set[int]) -> list[Block]:
    blocks = (grid[index] for index in pending)
    return [
        block
        for block in blocks
        if block.index in front or any(other.index in front for other in grid.neighbours(block, 26))
    ]


@dataclass(frozen=True, slots=True)
class _GrowBlock:
    """One more round on one block."""

    plan: InstancesPlan
    before: Grown

    def __call__(self, block: Block) -> Record:
        plan, cores = self.plan, core_numbers(self.plan.core_numbers).cores
        folder = _folder(plan, self.before.rounds + 1)
        z, y, x = (side + 2 for side in block.outer.shape)
        labels = np.zeros((z, y, x), np.uint32)
        self._read(block.outer, cores, labels[_INNER])
        states = mark_pending(read_classes(open_image(plan.border_core), block.outer), labels)
        grow(labels, states, plan.steps)
        core = block.core.relative_to(block.outer)
        labels, states = crop_in_place(labels, core.shift((1, 1, 1))), crop_in_place(states, core)
        ids, voxels = count_voxels(labels)
        (folder / "voxels" / f"{block.index}.npz").write_arrays(ids=ids, voxels=voxels)
        pending, front = count_states(states)
        pieces = 0
        if pending:
            pieces = _label_pending(plan, block, states, cores, labels, folder / "pending" / f"{block.index}.npz")
        write_box(open_array(folder / "labels", writable=True), block.core, labels)
        return {"pieces": pieces, "front": front}

    def _read(self, box: Box, cores: int, into: Labels) -> None:
        plan = self.plan
        if self.before.rounds == 0:
            table = core_numbers(plan.core_numbers)
            read_box(open_array(plan.core_labels), box, into)
            number_labels(into, box, plan.blocks(), table.offsets, table.numbers, into)
        else:
            GrownLabels(plan, self.before).read(box, into)
            into[into > cores] = 0


def _label_pending(
    plan: InstancesPlan, block: Block, states: States, cores: int, labels: Labels, file: Location
) -> int:
    """Label what is pending in a block above the cores and store its measures; returns the number of pieces."""
    pieces = find_components(states, PENDING, 26)
    check_ids(cores + pieces.total)
    file.write_arrays(**measure_pieces(pieces, block.core, plan.shape), **block_faces(pieces, block, plan.blocks()))
    write_labels(pieces, labels, above=cores)
    return pieces.total


def _folder(plan: InstancesPlan, number: int) -> Location:
    return plan.growth / f"round-{number:04d}"


def _grown(plan: InstancesPlan) -> Ledger:
    return plan.ledger("grown", plan.growth_fingerprint)
